"""Utility: literal losses and distances, fixed seeds, and what needs weights that are not here."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from mia_bench.data.pictures.loader import batch_of, decode
from mia_bench.data.source import Item
from mia_bench.display.pictures.contact_sheet import save_sheet
from mia_bench.evaluation.utility import UtilityRows, assess, clip_score, encoded, losses
from mia_bench.metrics.frechet import frechet
from mia_bench.training.batches import validation_timesteps
from mia_bench.utils.errors import MiaError


def items(n: int, start: int = 0) -> list[Item]:
    def draw(i: int) -> Image.Image:
        values = np.random.default_rng(i).integers(0, 256, (16, 16, 3), dtype=np.uint8)
        return Image.fromarray(values)

    return [
        Item(f"made:{i}", f"thing {i}", f"{i}", lambda _, i=i: draw(i))
        for i in range(start, start + n)
    ]


def test_losses_are_the_literal_means(fresh_target):
    target, rows = fresh_target(), items(5)
    found = losses(target, rows, 16, 2)
    batch = batch_of(rows, 16)
    z0 = target.encode(batch.image)
    for value, captions in zip(found, (batch.caption, [""] * 5), strict=True):
        each = []
        for t in validation_timesteps(target.timesteps):
            eps = target.noise(batch.sample_id, t)
            with torch.no_grad():
                out = target.predict_noise(target.add_noise(z0, eps, t), t, target.embed(captions))
            each.append((out - eps).square().mean())
        assert value == pytest.approx(torch.stack(each).mean().item(), rel=1e-5)


def test_utility_repeats_and_tells_its_conditions(fresh_target):
    rows = UtilityRows(items(3), items(6, 10), items(6, 20))
    (found, images), (again, _) = (assess(fresh_target(), rows, 16, 0, 4, None) for _ in "ab")
    assert found == again
    assert images.shape == (6, 3, 16, 16)
    assert (found["n_images"], found["n_members"]) == (6, 3)
    assert found["clip_score"] is None
    assert "eval.utility_clip" in found["clip_note"]
    target = fresh_target()
    real = encoded(target, decode(rows.heldout, 16))
    assert real.shape == (6, 4 * 4 * 4)
    assert found["frechet"] == pytest.approx(frechet(encoded(target, images), real), rel=1e-6)
    other, _ = assess(fresh_target(), rows, 16, 1, 4, None)
    assert other["frechet"] != found["frechet"]
    alone, _ = assess(fresh_target(), UtilityRows(items(3), items(6, 10), []), 16, 0, 4, None)
    assert alone["frechet_real"] is None


def test_the_clip_score_is_the_mean_cosine_in_hundreds(tmp_path):
    """A real open_clip model of two small towers, with weights from a file."""
    import open_clip

    config = {
        "embed_dim": 16,
        "vision_cfg": {
            "image_size": 32,
            "layers": 1,
            "width": 32,
            "patch_size": 16,
            "head_width": 16,
        },
        "text_cfg": {
            "context_length": 77,
            "vocab_size": 49408,
            "width": 32,
            "heads": 2,
            "layers": 1,
        },
    }
    (tmp_path / "mia-small.json").write_text(json.dumps(config))
    open_clip.add_model_config(tmp_path / "mia-small.json")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = open_clip.create_model("mia-small", pretrained=None).eval()
    save_file(model.state_dict(), tmp_path / "weights.safetensors")
    images, captions = decode(items(4), 16), [f"a thing number {i}" for i in range(4)]
    clip = f"mia-small/{tmp_path / 'weights.safetensors'}"
    found = clip_score(images, captions, clip, torch.device("cpu"))
    enlarged = torch.nn.functional.interpolate(images, (32, 32), mode="bicubic", antialias=True)
    mean, std = (
        torch.tensor(v).view(-1, 1, 1) for v in (model.visual.image_mean, model.visual.image_std)
    )
    with torch.no_grad():
        one = model.encode_image((enlarged.clamp(-1, 1) / 2 + 0.5 - mean) / std)
        two = model.encode_text(open_clip.get_tokenizer("mia-small")(captions))
    cosine = torch.nn.functional.cosine_similarity(one, two)
    assert found["clip_score"] == pytest.approx((100 * cosine).clamp(min=0).mean().item(), rel=1e-4)


def test_an_open_clip_model_that_is_not_there_is_named():
    with pytest.raises(MiaError, match="'ViT-Z/nobody' cannot be loaded"):
        clip_score(torch.zeros(1, 3, 16, 16), ["x"], "ViT-Z/nobody", torch.device("cpu"))


def test_the_sheet_shows_the_first_images_in_rows(tmp_path):
    images = torch.linspace(-1, 1, 10).view(10, 1, 1, 1).expand(10, 3, 64, 64)
    save_sheet(images, tmp_path / "samples.png")
    sheet = Image.open(tmp_path / "samples.png")
    assert sheet.size == (8 * 128, 2 * 128)
    grey = [sheet.getpixel((i % 8 * 128 + 64, i // 8 * 128 + 64))[0] for i in range(10)]
    assert grey == sorted(grey)
    assert (grey[0], grey[-1]) == (0, 255)


def test_utility_needs_held_out_rows(small, tmp_path):
    from mia_bench.planning.make_plan import make_plan

    plan = make_plan(small("eval.utility=true", "data.sizes.validation=1", outputs=tmp_path))
    with pytest.raises(MiaError, match="fewer than two rows"):
        _ = plan.utility
