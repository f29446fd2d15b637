"""Numbers from simulated scores: a leak is found, a null is not, and why sets cannot answer."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from mia_bench.audit.findings import exposure, find, judge, units
from mia_bench.audit.scores import BASE_COMBINED, COMBINED
from mia_bench.audit.sets import SetDifference
from mia_bench.audit.verdict import Answer
from mia_bench.metrics.inference.panel_combination import combined_score

NAMES = ("members", "non-members")
SILENT = {"blind_image": {"auroc": 0.5, "p_value": 0.6}}


def scored(first: int, second: int, shift: float, seed: int = 0, base: float = 0.0) -> pd.DataFrame:
    """Scores of two attacks, those of the first set `shift` higher."""
    rng, n = np.random.default_rng(seed), first + second
    is_first = np.arange(n) < first
    common = rng.normal(size=n)
    attacks = {name: common + rng.normal(size=n) + shift * is_first for name in ("a", "b")}
    table = pd.DataFrame(
        {
            "sample_id": [f"s{i}" for i in range(n)],
            "name": [f"{i}.png" for i in range(n)],
            "is_first": is_first,
            "group": [f"g{i}" for i in range(n)],
            **attacks,
        }
    )
    table[COMBINED] = combined_score(list(attacks.values()))
    if base:
        table[BASE_COMBINED] = combined_score([rng.normal(size=n) + base * is_first])
    return table


def found(table: pd.DataFrame, blind=SILENT, alpha: float = 0.01):
    return find(table, ["a", "b"], [], blind, alpha, 0)


def test_a_leak_is_found_by_one_p_value():
    findings = found(scored(30, 30, 3.0))
    verdict, reasons = judge("owner", findings, [], NAMES, 0.01)
    assert verdict.answer is Answer.YES
    assert reasons == []
    assert findings.p_value < 1e-4
    assert findings.lo < findings.auroc < findings.hi
    assert all(a.p_adjusted >= a.p_value for a in findings.attacks)
    assert all(a.set_p is not None and a.set_p < 0.01 for a in findings.attacks)


@pytest.mark.long
def test_nothing_is_no_evidence():
    findings = found(scored(30, 30, 0.0))
    verdict, _ = judge("data", findings, [], NAMES, 0.01)
    assert verdict.answer is Answer.NO_EVIDENCE
    assert findings.used is not None
    assert findings.used.lo < 0.1


@pytest.mark.long
def test_a_share_of_the_set_is_bounded_from_below():
    """Half of the first set far above: at least about half, less what chance explains."""
    table = scored(40, 40, 0.0)
    table.loc[:19, ["a", "b"]] += 50
    table[COMBINED] = combined_score([table.a, table.b])
    used = found(table).used
    assert used is not None
    assert used.is_bound
    assert 0.3 < used.lo < 0.5 < used.hi


def test_near_duplicates_count_as_one_picture():
    table = scored(12, 12, 0.0)
    copies = pd.concat([table, *[table.iloc[:12]] * 4], ignore_index=True)
    assert len(units(copies)) == 24
    assert found(copies).groups == (12, 12)


@pytest.mark.first_look
@pytest.mark.parametrize(
    ("table", "blind", "difference", "words"),
    [
        (scored(3, 3, 9.0), SILENT, None, "3 members and 3 non-members are too few"),
        (
            scored(30, 30, 3.0),
            {"blind_image": {"auroc": 0.9, "p_value": 0.001}},
            None,
            "pictures alone",
        ),
        (
            scored(30, 30, 3.0),
            {"blind_caption": {"auroc": 0.9, "p_value": 0.001}},
            None,
            "captions",
        ),
        (scored(30, 30, 3.0, base=5.0), SILENT, None, "base model"),
        (
            scored(30, 30, 3.0),
            SILENT,
            SetDifference("size", "64x64", "32x32", 0.001),
            "differ in size",
        ),
    ],
    ids=["too few", "pictures", "captions", "base", "size"],
)
def test_sets_that_cannot_answer_say_why(table, blind, difference, words):
    differences = [difference] if difference else []
    verdict, reasons = judge("owner", found(table, blind), differences, NAMES, 0.01)
    assert verdict.answer is Answer.CANNOT_SAY
    assert len(reasons) == 1
    assert words in verdict.sentence


def test_exposure_is_the_place_among_the_others():
    rows = exposure(scored(5, 9, 20.0))
    assert rows[COMBINED].is_monotonic_decreasing
    assert (rows.percentile == 100).all()
    assert rows.p_value.tolist() == pytest.approx([0.1] * 5)
