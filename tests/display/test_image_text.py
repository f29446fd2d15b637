"""Text on pictures: one printable line, cut to a width."""

from __future__ import annotations

import pytest
import torch
from PIL import Image, ImageFont

from mia_bench.display.evidence import (
    PANELS,
    EvidenceRow,
    save_strips,
)
from mia_bench.display.image_text import fit_line

HOSTILE = (
    "$\\frac{x}{0$ <script>alert(1)</script> %s {0} \\input{/etc/passwd}",
    "line one\nline two\r\ttabbed\x00\x1b[31m",
    "\u202ereversed \U0001f600 \u6f22\u5b57 \ud800",
    "x" * 100_000,
    "",
)


def shown(i: int = 0, **changes) -> EvidenceRow:
    row = {
        "sample_id": f"openmoji:{i:012x}",
        "caption": "a red hat",
        "score": 0.5,
        "is_member": i % 2 == 0,
        "why": "top",
    }
    return EvidenceRow(**(row | changes))


def pictures(n: int, size: int = 8) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {name: torch.rand(n, 3, size, size, generator=generator) * 2 - 1 for name in PANELS}


@pytest.mark.parametrize("caption", HOSTILE, ids=["markup", "control", "scripts", "long", "empty"])
def test_captions_are_drawn_as_plain_text(caption, tmp_path):
    font = ImageFont.load_default(13)
    line = fit_line(caption, font, 500)
    assert font.getlength(line) <= 500
    assert line.isprintable() or "\u202e" in line
    assert "\n" not in line
    plain = save_strips(tmp_path / "plain", pictures(1), [shown()])
    paths = save_strips(tmp_path / "drawn", pictures(1), [shown(caption=caption)])
    for one, other in zip(plain, paths, strict=True):
        with Image.open(one) as a, Image.open(other) as b:
            assert a.size == b.size


def test_short_captions_are_kept_whole():
    font = ImageFont.load_default(13)
    assert fit_line("a  red\nhat", font, 500) == "a red hat"
    assert fit_line("word " * 200, font, 300).endswith("...")
