"""The bundled model's preview: errors with and without captions, and pictures in a grid."""

from __future__ import annotations

import torch
from PIL import Image

from mia_bench.models.stable_diffusion import StableDiffusion
from mia_bench.pretrain.preview import caption_losses, openmoji_batch, save


def test_captions_help_the_bundled_model():
    batch = openmoji_batch(12)
    assert len(batch) == 12
    model = StableDiffusion("bundled:tiny", 64)
    target = model.build(model.load_unet(), seed=0)
    with torch.no_grad():
        with_caption, without = caption_losses(target, batch)
    assert 0 < with_caption < without < 1


def test_pictures_lie_in_one_row_per_tensor(tmp_path):
    black, white = -torch.ones(3, 3, 8, 8), torch.ones(3, 3, 8, 8)
    save(tmp_path / "grid.png", [black, white])
    with Image.open(tmp_path / "grid.png") as grid:
        assert grid.size == (24, 16)
        assert grid.getpixel((0, 0)) == (0, 0, 0)
        assert grid.getpixel((23, 15)) == (255, 255, 255)
