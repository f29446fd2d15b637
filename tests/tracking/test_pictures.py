"""Pictures are sent without the captions that are drawn on them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from mia_bench.display.pictures.evidence import PANELS, EvidenceRow, save_strips
from mia_bench.storage.stored_files import Unreadable
from mia_bench.tracking.pictures import evidence_strips, without_words


@pytest.fixture
def folder(tmp_path):
    """Evidence of two rows that differ in nothing but their captions."""
    images = {name: torch.zeros(2, 3, 8, 8) for name in PANELS}
    said = ("a secret of somebody", "another")
    rows = [EvidenceRow(f"x:{i}", text, 0.5, True, "top") for i, text in enumerate(said)]
    save_strips(tmp_path / "evidence", images, rows)
    return tmp_path / "evidence"


def test_captions_are_cut_off_and_the_sheet_stays_at_home(folder):
    strips = evidence_strips(folder)
    assert [path.name for path in strips] == ["x_0.png", "x_1.png"]
    whole = [np.asarray(Image.open(path)) for path in strips]
    assert not np.array_equal(*whole)
    sent = [np.asarray(picture) for picture in without_words(strips).values()]
    assert np.array_equal(*sent)
    assert sent[0].min() < 255  # the panels are there


@pytest.mark.parametrize("content", ["no picture", "too low"])
def test_what_is_no_strip_is_not_sent(folder, content):
    path = folder / "x_0.png"
    if content == "no picture":
        path.write_bytes(b"picture")
    else:
        Image.new("RGB", (8, 8)).save(path)
    with pytest.raises(Unreadable, match=r"x_0\.png"):
        without_words(evidence_strips(folder))
