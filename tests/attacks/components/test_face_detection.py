"""faces.py on photographs that scikit-image ships, and DRC's holes on what it finds."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import torch
from skimage import data

from mia_bench.attacks.components.face_detection import frontal
from mia_bench.attacks.components.image_similarity import hook
from mia_bench.attacks.drc import DRC
from mia_bench.target import Batch
from mia_bench.utils.errors import MiaError

PORTRAIT = (slice(0, 200), slice(130, 330))  # of the astronaut: rows, columns


def as_image(pixels: np.ndarray) -> torch.Tensor:
    return torch.tensor(pixels).permute(2, 0, 1) / 127.5 - 1


def portrait(size: int) -> torch.Tensor:
    whole = as_image(data.astronaut()[PORTRAIT])
    return torch.nn.functional.interpolate(whole[None], (size, size), mode="area")[0]


def test_the_astronauts_face_is_found():
    left, top, width, height = frontal(as_image(data.astronaut()))
    # eyes at rows 100 to 110, columns 205 to 245; chin at row 160
    assert left < 205 < 245 < left + width
    assert top < 100 < 140 < top + height
    assert width == height < 150


@pytest.mark.parametrize("size", [128, 64])
def test_a_small_portrait_will_do(size):
    left, top, width, _ = frontal(portrait(size))
    nose = (0.47 * size, 0.62 * size)  # column, row
    assert left < nose[0] < left + width
    assert top < nose[1] < top + width


@pytest.mark.long
def test_where_no_face_is_there_is_no_box():
    assert frontal(as_image(data.coffee()[:300, :300])) is None
    assert frontal(torch.zeros(3, 64, 64)) is None
    assert frontal(torch.zeros(3, 16, 16)) is None


@torch.no_grad()
def test_the_hole_lies_on_the_face_and_the_fallback_is_recorded(random_target):
    images = torch.stack([portrait(64), torch.zeros(3, 64, 64)])
    batch = Batch(("a", "b"), images, ("a woman", "nothing"))
    attack = DRC(
        ("inpaint:0.1",),
        place="face",
        face_box="mia_bench.attacks.components.face_detection.frontal",
        steps=2,
    )
    target = random_target(size=64)
    assert attack.features(target, batch)["face_found"].tolist() == [[1.0], [0.0]]
    hidden = (attack.evidence(target, batch)["degraded"] != images).any(1)
    rows, columns = (hidden[0].any(d).nonzero().flatten().tolist() for d in (1, 0))
    assert rows[0] < 0.62 * 64 < rows[-1]
    assert columns[0] < 0.47 * 64 < columns[-1]


def test_the_path_in_stored_keys_still_leads_to_it():
    """conf/attack/drc_face.yaml names the module as it was called before it moved."""
    assert hook("mia_bench.attacks.faces.frontal", "face_box") is frontal


def test_without_scikit_image_the_way_on_is_named(monkeypatch):
    monkeypatch.delitem(sys.modules, "mia_bench.attacks.components.face_detection")
    monkeypatch.setitem(sys.modules, "skimage.feature", None)
    attack = DRC(place="face", face_box="mia_bench.attacks.components.face_detection.frontal")
    with pytest.raises(MiaError, match=r"pip install 'mia_bench\[faces\]'.*place=centre"):
        attack.fetch()
