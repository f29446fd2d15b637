"""Nothing that decides a score, a threshold or an alpha has seen an evaluation label.

Feature tables are written as a run stores them, for every decision rule; then the evaluation rows
get other labels, and everything but the metrics has to stay bit for bit.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from mia_bench.attacks.components.image_complexity import COVARIATES, ImageComplexity
from mia_bench.data.split.roles import Role
from mia_bench.evaluation import attack_scores, ensemble_comparison, inputs, score_run, score_table
from mia_bench.planning.make_plan import make_plan
from mia_bench.planning.plan import Plan
from mia_bench.storage.artifacts import seal
from mia_bench.storage.feature_table import Table, write_table

SIZES = ("data.sizes.shadow_member=40", "data.sizes.shadow_nonmember=110")
ATTACKS = "[clid,clid_vec,loss,pia,gsa]"
MEMBERS = (Role.TARGET_MEMBER, Role.SHADOW_MEMBER)


def features(plan: Plan, questions: Any) -> dict[str, np.ndarray]:
    """The shapes that `attack.features` would store, lower for members."""
    rng = np.random.default_rng(int(questions.folder.name[-8:], 16))
    n = len(questions.sample_id)
    row = {r.sample_id: r for r in plan.split.table}
    member = np.array([row[sid].role in MEMBERS for sid in questions.sample_id])
    shapes = {"CLiD": ("loss", (5, 3)), "Loss": ("loss", (1,)), "PIA": ("distance", ())}
    shapes["GSA"] = ("log_norm", (20,))
    if isinstance(questions.attack, ImageComplexity):
        return {name: rng.normal(size=n).astype(np.float32) for name in COVARIATES}
    name, shape = shapes[type(questions.attack).__name__]
    gap = member.reshape(n, *[1] * len(shape))
    return {name: np.exp(rng.normal(0, 0.3, (n, *shape)) - 0.4 * gap).astype(np.float32)}


def stored(plan: Plan) -> Plan:
    for run in plan.runs:
        for questions in run.feature_specs():
            folder = questions.folder
            folder.mkdir(parents=True, exist_ok=True)
            table = Table(tuple(questions.sample_id), features(plan, questions))
            write_table(folder / "features.parquet", table)
            cost = {"rows": 1, "nfe_forward": 1.0, "nfe_paid": 1.0, "nfe_backward": 0.0}
            seal(folder, {"cost": cost | {"seconds": 1.0}})
    return plan


def scored(folder: Path) -> tuple[pd.DataFrame, dict[str, Any]]:
    return pd.read_parquet(folder / "scores.parquet"), json.loads(
        (folder / "metrics.json").read_text()
    )


def outcome(plan: Plan, into: Path) -> dict[str, tuple[pd.DataFrame, dict[str, Any]]]:
    """Score every cell and the ensemble; the ensemble reads the cells' own folders."""
    found = {}
    for run in plan.runs:
        run.folder.mkdir(parents=True, exist_ok=True)
        score_run.score_run(plan, run, run.folder)
        found[run.name] = scored(run.folder)
    together = into / "ensemble"
    together.mkdir(parents=True)
    score_run.score_ensemble(plan, together)
    found["ensemble"] = scored(together)
    return found


def relabel(plan: Plan, known: set[str], seed: int) -> Any:
    """`inputs._labelled` with the labels of all rows but the `known` ones dealt again."""
    real = inputs._labelled
    roles = {r.sample_id: str(r.role) for r in plan.split.table if str(r.role).startswith("target")}
    open_ones = sorted(set(roles) - known)
    dealt = np.random.default_rng(seed).permutation([roles[sid] for sid in open_ones])
    roles |= dict(zip(open_ones, dealt, strict=True))

    def shuffled(plan: Plan, questions: Any) -> Any:
        found = real(plan, questions)
        ids = found.table.sample_id
        role = np.array([roles.get(sid, old) for sid, old in zip(ids, found.role, strict=True)])
        return replace(found, role=role)

    return shuffled


@pytest.mark.first_look
@pytest.mark.parametrize(
    ("attacks", "calibration"),
    [("[clid,loss]", "shadow"), (ATTACKS, "shadow"), (ATTACKS, "split")],
)
def test_evaluation_labels_decide_nothing_but_metrics(
    small: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    attacks: str,
    calibration: str,
) -> None:
    words = [
        f"attack={attacks}",
        *SIZES,
        "eval.blind_rows=false",
        "eval.ensemble=true",
        "eval.resamples=100",
    ]
    words += ["eval.complexity=true"]
    if calibration == "split":  # of the target's rows a half calibrates: 110 non-members there
        words += ["calibration=split", "data.sizes.target_member=90"]
        words += ["data.sizes.target_nonmember=250"]
    plan = stored(make_plan(small(*words, outputs=tmp_path)))
    honest = outcome(plan, tmp_path / "honest")
    table = honest["clid"][0]
    known = set(table.sample_id[table.calibration])
    monkeypatch.setattr(inputs, "_labelled", relabel(plan, known, 1))
    # groups hold one class only: rows whose label moved are groups of their own
    monkeypatch.setattr(score_table, "evaluate", ungrouped(score_table.evaluate))
    for module in (attack_scores, ensemble_comparison):
        monkeypatch.setattr(module, "paired_difference", unpaired(module.paired_difference))
    other = outcome(plan, tmp_path / "shuffled")
    for name in (*(run.name for run in plan.runs), "ensemble"):
        before, after = honest[name], other[name]
        moved = before[0].is_member != after[0].is_member
        assert moved.sum() > 5
        assert not moved[before[0].calibration].any()
        pd.testing.assert_series_equal(before[0].score, after[0].score, check_exact=True)
        if "score_base" in before[0]:
            pd.testing.assert_series_equal(
                before[0].score_base, after[0].score_base, check_exact=True
            )
        assert before[1]["thresholds"] == after[1]["thresholds"]
        assert before[1]["thresholds"]["tau_fpr01"] is not None
        assert before[1]["chosen"] == after[1]["chosen"]
        assert before[1]["auroc"]["value"] != after[1]["auroc"]["value"]
    assert honest["clid"][1]["chosen"].keys() == {"alpha"}
    slopes = {f"slope_{name}" for name in COVARIATES}
    assert honest["clid-complexity"][1]["chosen"].keys() == {"alpha", "complexity_r2", *slopes}
    best = [
        of[1]["compared"]["best_by_calibration"]["attack"]
        for of in (honest["ensemble"], other["ensemble"])
    ]
    assert best[0] == best[1]


def ungrouped(real: Any) -> Any:
    def evaluate(scores: Any, member: Any, group: Any, *rest: Any, **named: Any) -> Any:
        return real(scores, member, [str(i) for i in range(len(group))], *rest, **named)

    return evaluate


def unpaired(real: Any) -> Any:
    def paired(a: Any, b: Any, member: Any, group: Any, *rest: Any) -> Any:
        return real(a, b, member, [str(i) for i in range(len(group))], *rest)

    return paired


def test_calibration_labels_do_decide(small: Any, tmp_path: Path) -> None:
    """The counterpart: were the test above blind, this one would be too."""
    plan = stored(make_plan(small("attack=[clid,clid_vec]", *SIZES, outputs=tmp_path)))
    run = plan.runs[1]
    loaded = inputs.load_inputs(plan, run)
    known = loaded.calibration
    other = replace(known, role=np.random.default_rng(0).permutation(known.role))
    a, b = (attack_scores._score(loaded, rows.calibration(0))[0] for rows in (known, other))
    assert (a != b).any()
