"""Measures of pictures for who has no access to the target."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from open_clip_models import CLIP_MEAN, CLIP_STD, small_open_clip

from mia_bench.attacks import Calibration
from mia_bench.attacks.black_box.picture_measures import (
    SIGN,
    TINY_VAE_FOLDER,
    Encoders,
    caption_fit,
    classified,
    described,
    fetch_measure,
    picture_measure,
)
from mia_bench.utils.errors import MiaError

CPU = torch.device("cpu")


@pytest.mark.parametrize("name", ["tiny_vae", "mse", "ssim"])
def test_an_image_is_most_like_itself(name, random_batch):
    image = random_batch(3).image
    compare = picture_measure(name, CPU, Encoders())
    same, other = (SIGN[name] * compare(image, x) for x in (image, image.flip(0)))
    assert same.shape == (3,)
    assert bool((same[[0, 2]] > other[[0, 2]]).all())


@torch.no_grad()
def test_the_encoder_is_the_packaged_autoencoder(random_batch):
    from diffusers import AutoencoderKL

    image = random_batch(2, size=64).image
    vae = AutoencoderKL.from_pretrained(str(TINY_VAE_FOLDER)).eval()
    x, y = (vae.encode(i).latent_dist.mean.flatten() for i in (image[:1], image[1:]))
    expected = (x @ y / (x.norm() * y.norm())).item()
    found = picture_measure("tiny_vae", CPU, Encoders())(image[:1], image[1:])
    assert found.item() == pytest.approx(expected, abs=1e-5)


@torch.no_grad()
def test_a_vision_transformer_compares_class_tokens(random_batch, tmp_path):
    from transformers import ViTConfig, ViTModel

    shape = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    torch.manual_seed(0)
    vit = ViTModel(ViTConfig(image_size=32, patch_size=16, intermediate_size=16, **shape)).eval()
    vit.save_pretrained(tmp_path)
    image = random_batch(2, size=32).image
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    seen = (image / 2 + 0.5 - mean.view(3, 1, 1)) / std.view(3, 1, 1)
    x, y = vit(seen).last_hidden_state[:, 0]
    expected = (x @ y / (x.norm() * y.norm())).item()
    fetch_measure("dino", Encoders(vit=str(tmp_path)))
    found = picture_measure("dino", CPU, Encoders(vit=str(tmp_path)))(image[:1], image[1:])
    assert found.item() == pytest.approx(expected, abs=1e-5)


@torch.no_grad()
def test_captions_fit_images_by_the_cosine_of_both_towers(random_batch, tmp_path):
    import open_clip

    clip = small_open_clip(tmp_path)
    image, captions = random_batch(4, size=32).image, ["a red thing", "two of them"]
    model = open_clip.create_model(clip).eval()
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in (CLIP_MEAN, CLIP_STD))
    texts = model.encode_text(open_clip.get_tokenizer(clip)(captions))
    found = caption_fit(captions, clip, CPU)(image)
    for i in range(4):
        x, y = model.encode_image(((image[i] / 2 + 0.5 - mean) / std)[None])[0], texts[i % 2]
        assert found[i].item() == pytest.approx((x @ y / (x.norm() * y.norm())).item(), abs=1e-5)


def test_the_encoder_is_named():
    encoders = Encoders("x/y", "a/vit")
    assert described("tiny_vae", encoders) == "latents of the bundled tiny autoencoder"
    assert described("open_clip", encoders) == "open_clip x/y"
    assert described("dino", encoders) == "class tokens of a/vit"


def test_weights_that_are_not_there_are_missed_before_anything_runs():
    fetch_measure("tiny_vae", Encoders())
    with pytest.raises(MiaError, match="open_clip weights"):
        fetch_measure("open_clip", Encoders("ViT-B-32/none_of_these"))
    with pytest.raises(MiaError, match=r"vit=nobody/none: no such folder, .* compare=tiny_vae"):
        fetch_measure("dino", Encoders(vit="nobody/none"))


def test_the_classifier_needs_rows_and_learns_the_direction():
    draw = np.random.default_rng(0)
    member = np.arange(80) % 2 == 0
    rows = draw.normal(size=(80, 2)) - 2 * member[:, None]
    known = Calibration({}, member, np.arange(80).astype(str))
    assert classified(np.array([[-3.0, -3.0], [3.0, 3.0]]), rows, known).round().tolist() == [
        1.0,
        0.0,
    ]
    with pytest.raises(MiaError, match="1 members and 1 non-members"):
        classified(rows, rows[:2], known.take(np.array([0, 1])))
