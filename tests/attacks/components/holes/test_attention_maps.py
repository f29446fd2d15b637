"""Maps of what matters against their formulas written out, on networks with random weights."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from transformers import CLIPTextConfig, CLIPTextModel, ViTConfig, ViTModel

from mia_bench.attacks.components.holes.attention_maps import (
    CAPTION_DRAWS,
    IMAGENET_MEAN,
    IMAGENET_STD,
    caption_difference,
    fetch_vision_transformer,
    self_attention,
    to_size,
)
from mia_bench.attacks.components.holes.saliency import blurred
from mia_bench.utils.errors import MiaError


@pytest.fixture
def encoder(tmp_path):
    """A saved vision transformer: 16 px, patches of 4, two heads."""
    torch.manual_seed(0)
    config = ViTConfig(hidden_size=8, num_hidden_layers=2, num_attention_heads=2,
                       intermediate_size=16, image_size=16, patch_size=4)  # fmt: skip
    ViTModel(config, add_pooling_layer=False).save_pretrained(tmp_path / "vit")
    return str(tmp_path / "vit")


@torch.no_grad()
def test_self_attention_is_the_last_layers_class_token(encoder):
    image = torch.rand(2, 3, 16, 16) * 2 - 1
    found = self_attention(image, encoder)
    model = ViTModel.from_pretrained(encoder, add_pooling_layer=False).eval()
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in (IMAGENET_MEAN, IMAGENET_STD))
    modules, inputs = dict(model.named_modules()), []
    query, key = (modules[f"layers.1.attention.{name}_proj"] for name in "qk")
    query.register_forward_pre_hook(lambda _, args: inputs.append(args[0]))
    model(((image + 1) / 2 - mean) / std)
    (x,) = inputs  # what enters the last layer's attention
    assert x.shape == (2, 17, 8)
    expected = np.zeros((2, 4, 4))
    for i in range(2):
        for head in range(2):
            part = slice(4 * head, 4 * head + 4)
            q = query(x[i])[0, part]
            scores = key(x[i])[:, part] @ q / math.sqrt(4)
            weights = torch.exp(scores) / torch.exp(scores).sum()
            expected[i] += weights[1:].view(4, 4).numpy() / 2
    maps = to_size(torch.tensor(expected).flatten(1), image)
    torch.testing.assert_close(found, maps, rtol=1e-4, atol=1e-6)


def test_a_partial_file_is_refused(encoder):
    weights = load_file(f"{encoder}/model.safetensors")
    weights.pop(next(name for name in weights if "q_proj" in name or "query" in name))
    save_file(weights, f"{encoder}/model.safetensors", metadata={"format": "pt"})
    with pytest.raises(MiaError, match="lacks weights: "):
        fetch_vision_transformer(encoder)


def test_a_transformer_that_sees_no_patches_is_refused(tmp_path):
    config = CLIPTextConfig(vocab_size=9, hidden_size=8, intermediate_size=8, num_hidden_layers=1,
                            num_attention_heads=1, max_position_embeddings=4)  # fmt: skip
    CLIPTextModel(config).save_pretrained(tmp_path / "text")
    with pytest.raises(MiaError, match="no vision transformer with patches"):
        fetch_vision_transformer(str(tmp_path / "text"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(MiaError, match="cannot be loaded"):
        fetch_vision_transformer(str(tmp_path / "empty"))
    with pytest.raises(MiaError, match=r"no such folder, and it cannot be fetched"):
        fetch_vision_transformer(str(tmp_path / "absent" / "a" / "b"))


@torch.no_grad()
def test_the_captions_part_is_what_changes_without_it(random_target, random_batch):
    target, batch = random_target(), random_batch(2)
    found = caption_difference(target, batch)
    height, width = batch.image.shape[-2:]
    assert found.shape == (2, 1, height, width)
    assert target.queries["forward"] == 2 * 2 * CAPTION_DRAWS
    for i, sid in enumerate(batch.sample_id):
        z0, change = target.encode(batch.image[i : i + 1]), 0
        own, null = target.embed([batch.caption[i]]), target.embed([""])
        for draw in range(CAPTION_DRAWS):
            z_t = target.a[500] * z0 + target.b[500] * target.noise([sid], 500, draw)
            pair = [target.predict_noise(z_t, 500, cond) for cond in (own, null)]
            change = change + (pair[0] - pair[1]).abs().mean(1, keepdim=True) / CAPTION_DRAWS
        expected = blurred(F.interpolate(change, (height, width), mode="bilinear"))
        torch.testing.assert_close(found[i : i + 1], expected, rtol=1e-3, atol=1e-5)
