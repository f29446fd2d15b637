"""From any image to the pixels a model sees: white background, antialiased, centre crop."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from mia_bench.data.pictures.preprocessing import pixels, to_rgb


def test_transparent_parts_become_white() -> None:
    hidden_red = Image.new("RGBA", (2, 2), (255, 0, 0, 0))
    assert to_rgb(hidden_red).getpixel((0, 0)) == (255, 255, 255)
    palette = Image.new("P", (2, 2))
    palette.info["transparency"] = 0
    assert to_rgb(palette).getpixel((0, 0)) == (255, 255, 255)
    assert to_rgb(Image.new("L", (2, 2), 7)).getpixel((0, 0)) == (7, 7, 7)


def test_a_strip_is_refused_before_it_is_enlarged() -> None:
    with pytest.raises(ValueError, match="101x1 px is too elongated"):
        pixels(Image.new("RGB", (101, 1)), 512)


def test_pixels_keep_a_picture_of_the_right_size_exactly() -> None:
    data = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    made = pixels(Image.fromarray(data), 8)
    assert made.dtype == torch.float32
    assert made.shape == (3, 8, 8)
    expected = data.transpose(2, 0, 1).astype(np.float32) / 255 * 2 - 1
    np.testing.assert_allclose(made.numpy(), expected, atol=1e-6)
    assert made.min() >= -1
    assert made.max() <= 1


@pytest.mark.parametrize("size", [(40, 20), (20, 40)])
def test_pixels_take_the_centre(size: tuple[int, int]) -> None:
    """White at both ends of the longer side, black in the central square."""
    image = Image.new("RGB", size, "white")
    left, top = (size[0] - 20) // 2, (size[1] - 20) // 2
    image.paste((0, 0, 0), (left, top, left + 20, top + 20))
    assert torch.equal(pixels(image, 20), -torch.ones(3, 20, 20))
    # twice as large: only the border pixels may see the white beside the square
    assert torch.equal(pixels(image, 40)[:, 2:-2, 2:-2], -torch.ones(3, 36, 36))


def test_shrinking_is_antialiased() -> None:
    """One-pixel stripes average to grey; plain bilinear sampling would keep black or white."""
    stripes = np.zeros((64, 64, 3), dtype=np.uint8)
    stripes[:, ::2] = 255
    small = pixels(Image.fromarray(stripes), 8)
    assert small[:, :, 1:-1].abs().max() < 0.05
