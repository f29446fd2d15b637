from pathlib import Path

import pytest
from corpus import encode, picture
from miniature import SVG, write

from mia_bench.data.tuxpaint import TuxPaint
from mia_bench.utils.errors import Missing


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for i, name in enumerate(
        ["animals/tiger", "animals/tiger_mirror", "symbols/math/7", "food/apple", "cartoon/tux"]
    ):
        write(tmp_path / f"{name}.png", encode(picture(i, (30, 20))))
        if name != "cartoon/tux":
            write(tmp_path / f"{name}.txt", f"The stamp {name}.\nde.utf8=Der Stempel\n")
    write(tmp_path / "food/apple.svg", SVG.format(""))
    write(tmp_path / "animals/tiger_desc.ogg", b"sound")
    return tmp_path


def test_captions_are_the_english_line_and_drawings_win_over_their_pictures(root: Path) -> None:
    made = TuxPaint(str(root)).items()
    assert {item.name: item.caption for item in made.items} == {
        "animals/tiger.png": "The stamp animals/tiger.",
        "food/apple.svg": "The stamp food/apple.",
    }
    assert {skip.name: (skip.reason, skip.broken) for skip in made.skipped} == {
        "animals/tiger_mirror.png": ("mirrored copy", False),
        "symbols/math/7.png": ("letter or sign", False),
        "food/apple.png": ("also there as a drawing", False),
        "cartoon/tux.png": ("no caption", True),
    }


def test_drawings_are_rendered_and_pictures_keep_their_size(root: Path) -> None:
    by_name = {item.name: item for item in TuxPaint(str(root)).items().items}
    drawing = by_name["food/apple.svg"].load(64)
    assert drawing.height == 64
    assert 127 <= drawing.width <= 129  # its shape is 2:1, its size is given in points
    assert by_name["animals/tiger.png"].load(64).size == (30, 20)


def test_without_the_package_the_message_names_it(tmp_path: Path) -> None:
    with pytest.raises(Missing, match="apt-get install tuxpaint-stamps-default"):
        TuxPaint(str(tmp_path / "nowhere")).items()
