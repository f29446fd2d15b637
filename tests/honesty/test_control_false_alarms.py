"""The controls do not cry wolf where nobody is a member, and do where a split follows a style."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from mia_bench.data.openmoji import OpenMoji
from mia_bench.data.source import Item
from mia_bench.evaluation.controls.blind_baselines import blind_rows
from mia_bench.honesty.control_false_alarms import ControlRows, false_alarms, flagged, stored
from mia_bench.honesty.random_splits import split
from mia_bench.metrics import permutation
from mia_bench.metrics.permutation import holm

RUNS, N = 12, 60
WORDS = ("river", "stone", "cloud", "lamp", "horse", "train", "apple", "violin")


def made(seed: int = 0) -> ControlRows:
    """Pairs of rows that look, read and score alike, as near-duplicates do."""
    rng = np.random.default_rng(seed)
    image = np.repeat(rng.normal(size=(N // 2, 12)), 2, axis=0) + 0.1 * rng.normal(size=(N, 12))
    captions = [" ".join(rng.choice(WORDS, 3)) for _ in range(N // 2)]
    scores = np.repeat(rng.normal(size=N // 2), 2) + 0.1 * rng.normal(size=N)
    group = [f"g{i // 2}" for i in range(N)]
    return ControlRows(image, list(np.repeat(captions, 2)), group, scores)


@pytest.mark.long
def test_null_runs_are_flagged_as_rarely_as_promised(monkeypatch: pytest.MonkeyPatch) -> None:
    """5 % of 12 are 0.6; four or more have a probability of 0.2 %. p of 99 permutations is 0.01 or
    more, and Holm asks for 0.0125 first: enough to be flagged. Three that do as well end it."""
    monkeypatch.setattr(permutation, "ENOUGH_AS_GOOD", 3)
    assert sum(bool(names) for names in false_alarms(made(), 20, RUNS, 99)) < 4
    assert permutation.PERMUTATIONS == 999


@pytest.fixture
def few_permutations(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(permutation, "PERMUTATIONS", 99)
    monkeypatch.setattr(permutation, "ENOUGH_AS_GOOD", 3)


@pytest.mark.usefixtures("few_permutations")
def test_a_base_that_knows_the_split_is_flagged() -> None:
    rows = made()
    knowing = rows.base_scores + 3 * split(rows.group, 20, 0)
    assert flagged(replace(rows, base_scores=knowing), 20, 0) == ["base"]


@pytest.mark.long
@pytest.mark.usefixtures("few_permutations")
def test_images_that_tell_the_split_are_flagged() -> None:
    rows = made()
    telling = rows.image + 3 * split(rows.group, 20, 0)[:, None]
    assert {"blind_image", "blind_both"} <= set(flagged(replace(rows, image=telling), 20, 0))


@pytest.mark.long
def test_storage_that_follows_no_membership_is_no_alarm_and_one_that_does_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """blind_file is flagged where its p is 1 of 100, once in 33 tries of three."""
    monkeypatch.setattr(permutation, "ENOUGH_AS_GOOD", 3)
    items = drawings(60, range(0), False)
    of_items = ControlRows.of(items, made().group, made().base_scores, 64)
    starts = {written[:4] for item in items if (written := stored(item, 64).raw()) is not None}
    assert len(starts) == 3  # PNG, JPEG, WebP
    rows = replace(made(), files=of_items.files)
    assert not any("blind_file" in names for names in false_alarms(rows, 20, 3, 99))
    member = split(rows.group, 20, 0)
    monkeypatch.setattr(permutation, "PERMUTATIONS", 99)
    telling = np.where(member, 1.0, 0.0)[:, None] + np.zeros((1, 3))
    assert "blind_file" in flagged(replace(rows, files=telling), 20, 0)


def drawings(count: int, inside: range, among: bool) -> list[Item]:
    """The first drawings whose Unicode code point is, or is not, in a block."""
    every = OpenMoji().items().items
    order = np.random.default_rng(0).permutation(len(every))
    chosen = (every[i] for i in order)
    kept = [i for i in chosen if (int(i.name.split("-")[0].split(".")[0], 16) in inside) == among]
    return kept[:count]


FACES = range(0x1F600, 0x1F650)


@pytest.mark.long
def test_a_split_by_style_is_flagged_on_real_drawings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Members are all faces; the same drawings, dealt at random, raise nothing."""
    monkeypatch.setattr(permutation, "PERMUTATIONS", 59)  # 1 / 60 is what Holm asks of three
    monkeypatch.setattr(permutation, "ENOUGH_AS_GOOD", 3)
    items = [*drawings(40, FACES, True), *drawings(60, FACES, False)]
    member = np.arange(100) < 40
    group = np.array([item.sample_id for item in items])
    rows = {row.name: row for row in blind_rows(items, member, group, 64, 0)}
    flags = holm({name: row.p_value for name, row in rows.items()})
    assert sorted(flags) == ["blind_both", "blind_caption", "blind_image"]
    assert rows["blind_image"].auroc > 0.75
    dealt = np.random.default_rng(1).permutation(member)
    fair = {row.name: row.p_value for row in blind_rows(items, dealt, group, 64, 0)}
    assert holm(fair) == []
