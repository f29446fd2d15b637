import base64
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from corpus import encode, picture
from miniature import SVG, write
from PIL import Image

from mia_bench.data.readers.svg import render


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


LINKED = 'xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"'
SIZE = 'width="40" height="20"'


@pytest.mark.parametrize(
    "inside",
    [
        f'<image a=">" xlink:href="FILE" {SIZE}/>',
        f'<image href="FILE" xlink:href="#x" {SIZE}/>',
        f"<image href = 'FILE' {SIZE}/>",
        f'<filter id="f" x="0" y="0" {SIZE} filterUnits="userSpaceOnUse">'
        f'<feImage xlink:href="FILE" x="0" y="0" {SIZE}/></filter>'
        f'<rect {SIZE} fill="blue" filter="url(#f)"/>',
        f'<image href="&file;" {SIZE}/>',
        "&element;",
        f'<image href="data:image/svg+xml;base64,NESTED" {SIZE}/>',
    ],
)
def test_no_reference_leads_out_of_a_drawing(inside: str, tmp_path: Path) -> None:
    secret = write(tmp_path / "secret.png", encode(Image.new("RGB", (40, 20), (255, 0, 0))))
    nested = f'<svg {LINKED} {SIZE}><image href="{secret}" {SIZE}/></svg>'
    text = (
        f'<!DOCTYPE svg [<!ENTITY file "{secret}"> '
        f"<!ENTITY element \"<image href='{secret}' width='40' height='20'/>\">]>"
        f"<svg {LINKED} {SIZE}>{inside}</svg>"
    )
    text = text.replace("FILE", str(secret))
    text = text.replace("NESTED", base64.b64encode(nested.encode()).decode())
    try:
        pixels = np.asarray(render(write(tmp_path / "a.svg", text), 20))
    except ValueError:
        return
    red = (pixels[..., 0] > 200) & (pixels[..., 1] < 60)
    assert not red.any()


def test_entities_that_unfold_are_refused_at_once(tmp_path: Path) -> None:
    names = "abcdefghij"
    unfold = "".join(f'<!ENTITY {b} "{f"&{a};" * 10}">' for a, b in pairwise(names))
    text = f'<!DOCTYPE svg [<!ENTITY a "aaaaaaaaaa">{unfold}]><svg {LINKED}><text>&j;</text></svg>'
    with pytest.raises(ValueError, match="entity reference loop"):
        render(write(tmp_path / "bomb.svg", text), 16)


def test_a_drawing_that_changes_is_rendered_again(tmp_path: Path) -> None:
    """Small drawings are remembered by their content, not by their name."""
    path = write(tmp_path / "a.svg", SVG.format(""))
    before = np.asarray(render(path, 32))
    assert np.array_equal(np.asarray(render(path, 32)), before)
    write(path, SVG.format("").replace('width="40"', 'width="1"'))
    assert not np.array_equal(np.asarray(render(path, 32)), before)
