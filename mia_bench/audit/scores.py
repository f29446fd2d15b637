"""Scores of every row: attacks that fit nothing as they are, the others cross-fitted by group."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from mia_bench.attacks import Attack, Floats
from mia_bench.audit.experiment import AuditRun
from mia_bench.audit.sets import ComparedSets
from mia_bench.data.source import Item
from mia_bench.data.split.roles import Role
from mia_bench.evaluation.cross_fitting import cross_fitted, fits_labels
from mia_bench.evaluation.labelled_features import LabelledFeatures, load_labelled
from mia_bench.metrics import Bools
from mia_bench.metrics.inference.exact_permutation import refitted_test
from mia_bench.metrics.inference.panel_combination import combined_score, placed_score
from mia_bench.planning.plan import Plan
from mia_bench.storage import layout
from mia_bench.storage.artifacts import checked_manifest
from mia_bench.utils.errors import MiaError

FOLDS = 5
REFITS = 199  # labellings under which fitted attacks are fitted again
COMBINED, BASE_COMBINED = "combined", "combined_base"
ROW_COLUMNS = ("sample_id", "name", "is_first", "group")


@dataclass(frozen=True)
class PanelScores:
    """`table`: a row a picture, the columns of ROW_COLUMNS, one for each attack, and COMBINED; with
    a base model BASE_COMBINED, the panel on the base alone.

    `fitted`: attacks whose scores rest on labels; `subtracted`: attacks from whose features those
    of the base were subtracted.
    """

    table: pd.DataFrame
    fitted: tuple[str, ...]
    subtracted: tuple[str, ...]
    known: pd.DataFrame | None = None
    """Pictures known to have been used, likewise but without `is_first`: COMBINED is what each of
    them would have, were it added to the table alone."""

    @property
    def known_scores(self) -> Floats | None:
        """COMBINED of each near-duplicate group of known pictures."""
        return None if self.known is None else group_scores(self.known)

    @property
    def attacks(self) -> list[str]:
        apart = (*ROW_COLUMNS, COMBINED, BASE_COMBINED)
        return [str(name) for name in self.table if name not in apart]


def group_scores(known: pd.DataFrame) -> Floats:
    """(groups,) mean of COMBINED in each near-duplicate group."""
    return known.groupby("group", sort=True)[COMBINED].mean().to_numpy()


def panel_scores(run: AuditRun, sets: ComparedSets) -> PanelScores:
    """Scores from stored features; no model is asked. Raises MiaError for scores not finite."""
    seed = run.plan.experiment.options.eval.seed
    of_target = _features(run.plan)
    of_base = _features(run.base) if run.base is not None else {}
    known = [_features(plan) for plan in run.known]
    scores: dict[str, Floats] = {}
    base: dict[str, Floats] = {}
    of_known: dict[str, Floats] = {}
    fitted, subtracted = [], []
    for name, attack in run.plan.experiment.attacks.items():
        rows = of_target[name]
        if name in of_base:
            base[name] = _score(name, attack, of_base[name], seed)
            if attack.statistics:
                rows = rows.minus(of_base[name])
                subtracted.append(name)
        if fits_labels(attack, rows, seed):
            fitted.append(name)
        scores[name] = _score(name, attack, rows, seed)
        if known:
            used = known[0][name].minus(known[1][name]) if name in subtracted else known[0][name]
            of_known[name] = _finite(
                name, attack.score(used.table.features, rows.calibration(seed))
            )
    table = _rows(next(iter(of_target.values())), sets).assign(**scores)
    table[COMBINED] = combined_score(list(scores.values()))
    if base:
        table[BASE_COMBINED] = combined_score(list(base.values()))
    placed = _known_rows(known[0], of_known, scores, run.known[0].items) if known else None
    return PanelScores(table, tuple(fitted), tuple(subtracted), placed)


def _known_rows(
    features: Mapping[str, LabelledFeatures],
    of_known: Mapping[str, Floats],
    scores: Mapping[str, Floats],
    items: Mapping[str, Item],
) -> pd.DataFrame:
    """The table of `PanelScores.known`."""
    rows = next(iter(features.values()))
    ids = rows.table.sample_id
    combined = placed_score(list(of_known.values()), list(scores.values()))
    columns = {"sample_id": ids, "name": [items[sid].name for sid in ids], "group": rows.group}
    return pd.DataFrame({**columns, **of_known, COMBINED: combined})


def _features(plan: Plan) -> Mapping[str, LabelledFeatures]:
    loaded = {}
    for run in plan.runs:
        spec = run.evaluation
        checked_manifest(spec.folder)
        path = spec.folder / layout.FEATURES_FILE
        loaded[run.name] = load_labelled(path, spec.sample_id, plan.split)
    return loaded


def _score(name: str, attack: Attack, rows: LabelledFeatures, seed: int) -> Floats:
    if fits_labels(attack, rows, seed):
        scores = cross_fitted(attack, rows, _folds(rows), seed)
    else:
        scores = attack.score(rows.table.features, rows.calibration(seed))
    return _finite(name, scores)


def _finite(name: str, scores: Floats) -> Floats:
    if not np.isfinite(scores).all():
        raise MiaError(f"attack {name} gave scores that are not finite: leave it out of attacks=.")
    return scores


def _folds(rows: LabelledFeatures) -> int:
    """At most FOLDS, and no more than leave two groups of a class to fit on."""
    groups = [len(set(rows.group[rows.is_member == kind])) for kind in (True, False)]
    return max(2, min(FOLDS, *groups))


def refitted_p(run: AuditRun, seed: int) -> float:
    """p of the panel's combination where attacks fit on labels: every labelling fits again.

    Whole groups change sides, as in the test without a fit. REFITS labellings, so that no p is
    below 1 / (1 + REFITS).
    """
    of_target = _features(run.plan)
    of_base = _features(run.base) if run.base is not None else {}
    rows = {}
    for name, attack in run.plan.experiment.attacks.items():
        subtracts = name in of_base and attack.statistics
        rows[name] = of_target[name].minus(of_base[name]) if subtracts else of_target[name]
    first = next(iter(rows.values()))
    labels, where = np.unique(first.group, return_inverse=True)
    is_first = np.zeros(len(labels), dtype=np.bool_)
    is_first[where] = first.is_member

    def statistic(sides: Bools) -> float:
        role = np.where(sides[where], str(Role.TARGET_MEMBER), str(Role.TARGET_NONMEMBER))
        relabelled = {name: replace(known, role=role) for name, known in rows.items()}
        attacks = run.plan.experiment.attacks
        scores = [_score(name, attacks[name], known, seed) for name, known in relabelled.items()]
        means = np.bincount(where, combined_score(scores)) / np.bincount(where)
        return float(means[sides].mean() - means[~sides].mean())

    return refitted_test(statistic, is_first, seed, REFITS).p_value


def _rows(rows: LabelledFeatures, sets: ComparedSets) -> pd.DataFrame:
    names = {item.sample_id: item.name for item in sets.items}
    return pd.DataFrame(
        {
            "sample_id": rows.table.sample_id,
            "name": [names[sid] for sid in rows.table.sample_id],
            "is_first": rows.is_member,
            "group": rows.group,
        }
    )
