"""Which rows are shown, and that pictures hold what they should and nothing a caption wants."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from evidence_rows import pictures, shown
from PIL import Image

from mia_bench.attacks import ProducesEvidence
from mia_bench.attacks.drc import DRC
from mia_bench.attacks.loss import Loss
from mia_bench.display.pictures.evidence import (
    PANELS,
    choose,
    enlarge,
    save_strips,
    strip,
    to_pixels,
)
from mia_bench.display.pictures.image_text import GAP_PIXELS, LINE_PIXELS
from mia_bench.utils.text import safe_name


def test_rows_worth_a_look():
    is_member = np.array([True] * 10 + [False] * 10)
    scores = np.concatenate([np.arange(10), np.arange(10) - 3]).astype(float)
    found = choose(scores, is_member, seed=0)
    assert found["top"] == [9, 8, 7, 6]
    assert found["worst"] == [0, 1, 19, 18]
    assert found["bottom"] == [10, 11, 12, 13]
    assert len(found["random"]) == 4
    assert not set(found["random"]) & {*found["top"], *found["worst"], *found["bottom"]}
    assert found == choose(scores, is_member, seed=0)
    assert any(choose(scores, is_member, seed)["random"] != found["random"] for seed in (1, 2, 3))
    assert choose(scores, is_member, 0, each=3)["worst"] == [0, 1, 19]


def test_no_row_is_shown_twice_when_there_are_few():
    found = choose(np.array([0.1, 0.2, 0.3]), np.array([True, True, False]), seed=0)
    assert found == {"top": [1, 0], "bottom": [], "worst": [2], "random": []}
    found = choose(np.zeros(1), np.array([False]), seed=0)
    assert found == {"top": [], "bottom": [], "worst": [0], "random": []}


@pytest.mark.parametrize(
    ("sample_id", "name"),
    [
        ("openmoji:0123456789ab", "openmoji_0123456789ab"),
        ("../../etc/passwd", "etc_passwd"),
        ("..\\evil.exe:stream", "evil.exe_stream"),
        (".hidden", "hidden"),
        ("", "sample"),
        ("\x00/", "sample"),
        ("a" * 300, "a" * 80),
    ],
)
def test_file_names_are_safe(sample_id, name):
    assert safe_name(sample_id) == name


def test_one_picture_per_row_and_a_sheet(tmp_path):
    rows = [shown(i) for i in range(3)]
    paths = save_strips(tmp_path / "new" / "evidence", pictures(3), rows, "drc on openmoji")
    assert [path.name for path in paths] == [
        *(f"openmoji_{i:012x}.png" for i in range(3)),
        "evidence.png",
    ]
    widths = set()
    for path in paths:
        with Image.open(path) as image:
            image.load()
            widths.add(image.size)
            assert image.mode == "RGB"
            assert not image.info
    assert len(widths) == 2


def test_names_that_collide_stay_apart(tmp_path):
    rows = [shown(sample_id=sid) for sid in ("a:b", "a/b", "evidence")]
    names = [path.name for path in save_strips(tmp_path, pictures(3), rows)]
    assert names == ["a_b.png", "a_b-2.png", "evidence-2.png", "evidence.png"]


def test_nothing_chosen_still_gives_a_sheet(tmp_path):
    assert [p.name for p in save_strips(tmp_path, pictures(0), [])] == ["evidence.png"]


def test_a_strip_holds_the_pixels_it_claims():
    generator = torch.Generator().manual_seed(0)
    panels = {
        name: to_pixels(torch.rand(3, 64, 64, generator=generator) * 2 - 1) for name in PANELS
    }
    image = np.asarray(strip(panels, shown()))
    top, size = GAP_PIXELS + 3 * LINE_PIXELS, 192
    found = [
        image[top : top + size, left : left + size]
        for left in (GAP_PIXELS + i * (size + GAP_PIXELS) for i in range(4))
    ]
    for name, panel in zip(PANELS, found, strict=False):
        np.testing.assert_array_equal(panel, panels[name].repeat(3, 0).repeat(3, 1))
    apart = np.abs(panels["original"].astype(int) - panels["restored"].astype(int))
    np.testing.assert_array_equal(found[3][::3, ::3], np.minimum(2 * apart, 255))


def test_a_strip_is_as_wide_as_its_panels(tmp_path):
    images = pictures(1) | {f"{name} again": image for name, image in pictures(1).items()}
    path, _ = save_strips(tmp_path, images, [shown()])
    with Image.open(path) as image:
        assert image.width == 7 * 192 + 8 * GAP_PIXELS  # six and the difference


def test_pixels_of_tensors():
    image = torch.tensor([-1.0, 0.0, 1.0, torch.nan, torch.inf, -7.0]).view(1, 1, 6).expand(3, 1, 6)
    assert to_pixels(image)[0, :, 0].tolist() == [0, 128, 255, 128, 255, 0]


def test_only_small_pictures_are_enlarged():
    assert enlarge(Image.new("RGB", (64, 64))).size == (192, 192)
    assert enlarge(Image.new("RGB", (100, 100))).size == (200, 200)
    assert enlarge(Image.new("RGB", (512, 512))).size == (512, 512)


def test_large_pictures_are_reduced_on_the_sheet(tmp_path):
    paths = save_strips(tmp_path, pictures(1, 512), [shown()])
    with Image.open(paths[0]) as image:
        assert image.width == 4 * 512 + 5 * GAP_PIXELS
    with Image.open(paths[1]) as image:
        assert image.width == 2 * (4 * 256 + 5 * GAP_PIXELS)


def test_who_can_show_evidence():
    assert isinstance(DRC(), ProducesEvidence)
    assert not isinstance(Loss(), ProducesEvidence)
