"""pictures.py: every file is an RGB picture, or a ValueError with a reason."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from corpus import IMAGES, encode, exif, picture, png_of, sixteen_bit
from PIL import Image, ImageFile

from mia_bench.data.pictures.image_file import decode, read_picture


@pytest.mark.parametrize("name", IMAGES)
def test_every_file_of_the_corpus_is_read_or_refused_with_a_reason(name: str) -> None:
    build, reason = IMAGES[name]
    if reason is None:
        image = decode(build())
        assert image.mode == "RGB"
        assert image.load() is not None
    else:
        with pytest.raises(ValueError, match=reason):
            decode(build())


@pytest.mark.parametrize("name", [name for name in IMAGES if name.startswith("truncated")])
def test_a_library_that_asks_pillow_to_complete_files_changes_nothing(name, monkeypatch) -> None:
    """Importing WeasyPrint does so for the whole process."""
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    with pytest.raises(ValueError, match="broken"):
        decode(IMAGES[name][0]())


@pytest.mark.parametrize("orientation", range(1, 9))
def test_pictures_stand_upright(orientation: int) -> None:
    """A picture with one red corner, stored as a camera held that way would: the corner returns."""
    undo = {1: 0, 2: "fh", 3: 180, 4: "fv", 5: "t", 6: 90, 7: "tv", 8: 270}[orientation]
    upright = np.zeros((8, 16, 3), dtype=np.uint8)
    upright[:4, :4] = (255, 0, 0)
    stored = {
        0: upright,
        180: upright[::-1, ::-1],
        90: np.rot90(upright, 1),  # turned left: the viewer turns it right
        270: np.rot90(upright, -1),
        "fh": upright[:, ::-1],
        "fv": upright[::-1],
        "t": upright.transpose(1, 0, 2),
        "tv": upright[::-1, ::-1].transpose(1, 0, 2),
    }[undo]
    data = encode(Image.fromarray(np.ascontiguousarray(stored)), exif=exif(orientation))
    np.testing.assert_array_equal(np.asarray(decode(data)), upright)


def test_sixteen_bits_keep_their_range() -> None:
    """Pillow's own conversion would be white above 255, which is 99.6 % of the ramp."""
    for kind in ("PNG", "TIFF"):
        values = np.asarray(decode(sixteen_bit(kind)))[..., 0].ravel()
        assert (values[0], values[-1]) == (0, 255)
        assert abs(int(values[240]) - 127) <= 1


def test_the_first_frame_counts() -> None:
    frames = [Image.new("RGB", (9, 9), colour) for colour in ("red", "blue")]
    data = encode(frames[0], "PNG", save_all=True, append_images=frames[1:])
    assert decode(data).getpixel((4, 4)) == (255, 0, 0)


def test_transparency_is_white_and_not_the_colour_below() -> None:
    assert decode(encode(Image.new("RGBA", (9, 9), (255, 0, 0, 0)))).getpixel((4, 4)) == (255,) * 3


def test_a_bomb_is_refused_by_its_header() -> None:
    """3.6 gigapixels: decoding would need 10 GB; the file has 100 bytes."""
    data = png_of(60_000, 60_000)
    assert len(data) < 200
    with pytest.raises(ValueError, match="larger than"):
        decode(data)


def test_files_are_read_in_their_own_size(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(encode(picture(0, (30, 20))))
    assert read_picture(tmp_path / "a.png", 512).size == (30, 20)
