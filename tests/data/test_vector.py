from pathlib import Path

import numpy as np
import pytest
from corpus import encode, picture
from miniature import SVG, write

from mia_bench.data.vector import render


def test_shapes_are_kept_and_the_shorter_side_is_as_asked(tmp_path: Path) -> None:
    wide = write(tmp_path / "wide.svg", SVG.format(""))
    assert render(wide, 32).size == (64, 32)
    tall = write(tmp_path / "tall.svg", SVG.format("").replace("400pt", "100pt"))
    assert render(tall, 32).size in ((32, 64), (32, 65))


def test_what_is_not_painted_is_white(tmp_path: Path) -> None:
    path = write(tmp_path / "a.svg", SVG.format("").replace('width="40"', 'width="1"'))
    assert render(path, 32).getpixel((60, 0)) == (255, 255, 255)


def test_strips_and_broken_drawings_are_refused(tmp_path: Path) -> None:
    strip = write(tmp_path / "strip.svg", SVG.format("").replace("400pt", "40000pt"))
    with pytest.raises(ValueError, match="too elongated"):
        render(strip, 16)
    with pytest.raises(ValueError, match="root node"):
        render(write(tmp_path / "broken.svg", "<svg"), 16)


@pytest.mark.parametrize("name", ["image", "svg:image"])
def test_a_drawing_cannot_include_other_files(name: str, tmp_path: Path) -> None:
    """Left alone, the renderer paints any picture on the disk."""
    write(tmp_path / "secret.png", encode(picture(0)))
    drawing = SVG.format('<{} width="40"\n xlink:href="{}/secret.png" height="20"/>')
    drawing = drawing.replace("<svg ", '<svg xmlns:svg="http://www.w3.org/2000/svg" ')
    drawing = drawing.replace("<svg ", '<svg xmlns:xlink="http://www.w3.org/1999/xlink" ')
    path = write(tmp_path / "a.svg", drawing.format(name, tmp_path))
    pixels = np.asarray(render(path, 32))
    assert (pixels == (255, 0, 0)).all()
