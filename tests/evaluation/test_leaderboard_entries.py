"""Cards are checked, figures follow from scores, and what was changed is not shown."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
import yaml

from mia_bench.evaluation.leaderboard_entries import add, read_card, read_entries
from mia_bench.metrics import auroc
from mia_bench.utils.errors import MiaError

CARD = {"attack": "clid", "target": "sd15", "data": "mscoco", "split": "https://example.org/split"}


@pytest.fixture
def card(tmp_path):
    def write(**changes):
        path = tmp_path / "card.yaml"
        path.write_text(yaml.safe_dump({**CARD, **changes}))
        return path

    return write


@pytest.fixture
def scores(tmp_path):
    rng = np.random.default_rng(0)
    member = np.arange(200) % 2 == 0
    score = rng.normal(size=200) + member
    path = tmp_path / "scores.csv"
    pd.DataFrame({"id": range(200), "member": member, "score": score}).to_csv(path, index=False)
    for name, of in (("members", member), ("nonmembers", ~member)):
        np.save(tmp_path / f"{name}.npy", score[of])
    return path


def test_figures_follow_from_the_scores(scores, card, tmp_path):
    entry = add(tmp_path / "board", [scores], card())
    table = pd.read_csv(scores)
    assert entry.metrics["auroc"]["value"] == pytest.approx(auroc(table.score, table.member))
    arrays = [tmp_path / f"{name}.npy" for name in ("members", "nonmembers")]
    other = add(tmp_path / "board", arrays, card(attack="loss"))
    assert other.metrics["auroc"]["value"] == pytest.approx(entry.metrics["auroc"]["value"])
    assert add(tmp_path / "board", [scores], card()).key == entry.key
    entries, problems = read_entries(tmp_path / "board")
    assert ({e.card.attack for e in entries}, problems) == ({"clid", "loss"}, [])


def test_losses_are_turned(scores, card, tmp_path):
    straight = add(tmp_path / "board", [scores], card()).metrics["auroc"]["value"]
    turned = add(tmp_path / "board", [scores], card(negate=True)).metrics["auroc"]["value"]
    assert straight + turned == pytest.approx(1)


@pytest.mark.parametrize("name", ["scores.parquet", "card.json", "metrics.json"])
def test_a_changed_entry_is_not_shown(name, scores, card, tmp_path):
    key = add(tmp_path / "board", [scores], card()).key
    path = tmp_path / "board" / "entries" / key / name
    path.write_bytes(path.read_bytes() + b" ")
    entries, (problem,) = read_entries(tmp_path / "board")
    assert entries == []
    assert f"{name} changed since it was written" in problem


def test_a_sealed_claim_that_does_not_follow_is_not_shown(scores, card, tmp_path):
    from mia_bench.storage.artifacts import seal

    key = add(tmp_path / "board", [scores], card()).key
    place = tmp_path / "board" / "entries" / key
    metrics = json.loads((place / "metrics.json").read_text())
    metrics["auroc"]["value"] = 0.999
    (place / "metrics.json").write_text(json.dumps(metrics))
    (place / "manifest.json").unlink()
    seal(place, {})
    entries, (problem,) = read_entries(tmp_path / "board")
    assert entries == []
    assert "does not follow from its scores" in problem


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"split": ""}, "split"),
        ({"colour": "red"}, "colour"),
        ({"nfe": -1}, "nfe"),
        ({"published": {"source": "x", "figures": {"auc": 0.9}}}, "not auc"),
        ({"published": {"source": "x", "figures": {"auroc": 90}}}, "published.figures.auroc"),
    ],
)
def test_a_card_that_says_something_else_is_refused(changes, what, card):
    with pytest.raises(MiaError, match=what):
        read_card(card(**changes))
