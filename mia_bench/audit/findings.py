"""From the scores of two sets to every number of an audit, and the verdict on them.

One test answers: the exact permutation test of the panel's combined score, or with variants the
rank test. All else is beside it: every attack with Holm's adjustment over the panel, CDI's set
test, the share of the set that was used, and what the sets could have shown.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from mia_bench.attacks import Floats
from mia_bench.audit.request import CONTROL_LEVEL, Kind, counted
from mia_bench.audit.scores import BASE_COMBINED, COMBINED
from mia_bench.audit.sets import SetDifference
from mia_bench.audit.share.used_share import set_share
from mia_bench.audit.verdict import AuditVerdict, decide
from mia_bench.metrics.inference.dataset_inference import dataset_test
from mia_bench.metrics.inference.debiased_rate import UsedShare
from mia_bench.metrics.inference.delong import delong_interval
from mia_bench.metrics.inference.exact_permutation import DRAWS, permutation_test, smallest_p
from mia_bench.metrics.inference.multiple_tests import holm_adjusted
from mia_bench.metrics.inference.power import smallest_leak
from mia_bench.metrics.permutation import holm

SET_TEST_RESAMPLES = 200
MIN_SET_GROUPS = 2


@dataclass(frozen=True)
class AttackFinding:
    """One attack on its own. p-values one-sided, adjusted ones over the panel (Holm)."""

    name: str
    auroc: float
    lo: float | None
    hi: float | None
    p_value: float
    p_adjusted: float
    set_p: float | None
    set_p_adjusted: float | None
    fitted: bool


@dataclass(frozen=True)
class ControlFinding:
    """A control: it must not tell the sets apart. `flagged`: by Holm's test over all of them."""

    name: str
    auroc: float
    p_value: float
    flagged: bool


@dataclass(frozen=True)
class AuditFindings:
    """What a panel says of two sets; see the module."""

    p_value: float
    test: str
    smallest_p: float
    auroc: float
    lo: float | None
    hi: float | None
    smallest_leak: float | None
    groups: tuple[int, int]
    called: int
    called_of: int
    called_fpr: float | None
    used: UsedShare | None
    attacks: tuple[AttackFinding, ...]
    controls: tuple[ControlFinding, ...]


def units(table: pd.DataFrame) -> pd.DataFrame:
    """One row per near-duplicate group: means of its scores."""
    numbers = table.drop(columns=["sample_id", "name"])
    return (
        numbers.groupby("group", sort=True)
        .mean(numeric_only=True)
        .assign(is_first=lambda frame: frame.is_first.astype(bool))
    )


def find(
    table: pd.DataFrame,
    attacks: Sequence[str],
    fitted: Sequence[str],
    blind: Mapping[str, Mapping[str, float]],
    alpha: float,
    seed: int,
    refitted_p: float | None = None,
    draws: int = DRAWS,
    known: Floats | None = None,
) -> AuditFindings:
    """Everything that follows from the scores of two sets.

    Args:
        table: of `PanelScores`.
        blind: AUROC and p-value of each blind baseline.
        draws: labellings of every permutation test that cannot look at all.
        refitted_p: p of the combination where attacks of the panel are fitted on labels.
        known: combined scores of pictures known to have been used, one per group.
    """
    rows = units(table)
    combined, is_first = rows[COMBINED].to_numpy(), rows.is_first.to_numpy()
    first, second = int(is_first.sum()), int((~is_first).sum())
    result = permutation_test(combined, is_first, seed, draws)
    p_value = result.p_value if refitted_p is None else refitted_p
    share = set_share(combined, is_first, known, seed)
    controls = dict(blind)
    if BASE_COMBINED in rows:
        base = rows[BASE_COMBINED].to_numpy()
        test = permutation_test(base, is_first, seed, draws)
        controls["base model"] = {
            "auroc": delong_interval(base, is_first)[0],
            "p_value": test.p_value,
        }
    return AuditFindings(
        p_value,
        _test_words(result.exact, result.assignments, refitted_p is not None),
        smallest_p(first, second, draws),
        *delong_interval(combined, is_first),
        smallest_leak(first, second, alpha),
        (first, second),
        share.called,
        share.called_of,
        share.fpr,
        share.used,
        _each_attack(table, rows, attacks, fitted, seed, draws),
        _judged(controls),
    )


def _test_words(exact: bool, assignments: int, refitted: bool) -> str:
    how = "every labelling" if exact else f"{assignments:,} random labellings"
    if refitted:
        how = "random labellings, with every fit made again"
    return f"permutation test over {how}"


def _each_attack(
    table: pd.DataFrame,
    rows: pd.DataFrame,
    attacks: Sequence[str],
    fitted: Sequence[str],
    seed: int,
    draws: int,
) -> tuple[AttackFinding, ...]:
    is_first = rows.is_first.to_numpy()
    tests = {n: permutation_test(rows[n].to_numpy(), is_first, seed, draws) for n in attacks}
    p = {name: test.p_value for name, test in tests.items()}
    set_p = {name: value for name in attacks if (value := _set_p(table, name, seed)) is not None}
    adjusted, set_adjusted = holm_adjusted(p), holm_adjusted(set_p)
    return tuple(
        AttackFinding(
            name,
            *delong_interval(rows[name].to_numpy(), is_first),
            p[name],
            adjusted[name],
            set_p.get(name),
            set_adjusted.get(name),
            name in fitted,
        )
        for name in attacks
    )


def _set_p(table: pd.DataFrame, name: str, seed: int) -> float | None:
    """p of CDI's test with every group; None where a side has fewer than two."""
    by_side = table.groupby("is_first").group.nunique()
    if by_side.min() < MIN_SET_GROUPS:
        return None
    scores, is_first = table[name].to_numpy(), table.is_first.to_numpy()
    result = dataset_test(scores, is_first, table.group.tolist(), seed, SET_TEST_RESAMPLES)
    return float(result["p_value"][-1])


def _judged(controls: Mapping[str, Mapping[str, float]]) -> tuple[ControlFinding, ...]:
    flagged = holm({name: entry["p_value"] for name, entry in controls.items()}, CONTROL_LEVEL)
    return tuple(
        ControlFinding(name, float(entry["auroc"]), float(entry["p_value"]), name in flagged)
        for name, entry in controls.items()
    )


CONTROL_WORDS = {
    "blind_image": "a classifier that sees the pictures alone, never the model, tells them apart",
    "blind_caption": "their captions tell them apart, without the model",
    "blind_both": "pictures and captions tell them apart, without the model",
    "blind_file": "the pictures' files tell them apart (format, tables, size, marks, traces of an "
    "earlier compression), without the model",
    "base model": "the base model, before its fine-tuning, already tells them apart",
}


def reasons(
    findings: AuditFindings,
    differences: Sequence[SetDifference],
    names: tuple[str, str],
    alpha: float,
    variants: bool = False,
) -> list[str]:
    """Why these sets cannot answer, as clauses; none where they can."""
    found = []
    if findings.smallest_p > alpha:
        found.append(_too_few(findings, names, alpha, variants))
    for difference in differences:
        if difference.p_value <= CONTROL_LEVEL:
            found.append(
                f"the sets differ in {difference.fact} ({names[0]}: {difference.first}; "
                f"{names[1]}: {difference.second}), which may be all that the attacks see"
            )
    flagged = [control for control in findings.controls if control.flagged]
    if flagged:
        strongest = min(flagged, key=lambda control: control.p_value)
        words = CONTROL_WORDS.get(strongest.name, f"{strongest.name} tells them apart")
        found.append(f"{words} (AUC {strongest.auroc:.2f}, p = {strongest.p_value:.2g})")
    return found


def _too_few(findings: AuditFindings, names: tuple[str, str], alpha: float, variants: bool) -> str:
    first, second = findings.groups
    if variants:
        return (
            f"{counted(first, 'pictures')} with so few variants can bring no p-value below "
            f"{findings.smallest_p:.2g}, and {alpha:g} is asked for: more pictures, or more "
            "variants of each, are needed"
        )
    each = next(n for n in range(1, 200) if smallest_p(n, n) <= alpha)
    return (
        f"{counted(first, names[0])} and {counted(second, names[1])} are too few: no p-value below "
        f"{findings.smallest_p:.2g} is possible, and {alpha:g} is asked for; {each} of each are "
        "the least, and a leak that is not extreme takes more"
    )


def judge(
    kind: Kind,
    findings: AuditFindings,
    differences: Sequence[SetDifference],
    names: tuple[str, str],
    alpha: float,
    variants: bool = False,
) -> tuple[AuditVerdict, list[str]]:
    """The verdict, and why the sets cannot answer where they cannot."""
    found = reasons(findings, differences, names, alpha, variants)
    leak = findings.smallest_leak
    return decide(kind, findings.p_value, alpha, leak, found), found


def exposure(table: pd.DataFrame) -> pd.DataFrame:
    """Of every picture of the first set: combined score, percentile and p among the second's."""
    second = np.sort(table.loc[~table.is_first, COMBINED].to_numpy())
    first = table[table.is_first].sort_values(COMBINED, ascending=False, kind="stable")
    scores = first[COMBINED].to_numpy()
    below = np.searchsorted(second, scores, "left")
    return first.assign(
        percentile=100 * below / max(1, second.size),
        p_value=(1 + second.size - below) / (second.size + 1),
    ).reset_index(drop=True)
