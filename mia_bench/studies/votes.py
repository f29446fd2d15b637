"""What a number of agreeing votes means: precision and recall of DRC where its tasks vote.

    recall(k)     share of members with k votes or more
    precision(k)  share of members among the rows with k votes or more
    balanced(k)   the same, were members and non-members as many: p / (p + f), where p and f are
                  the shares of members and of non-members with k votes or more

The thresholds of the votes were fixed on calibration rows, so every evaluation row is judged. The
curve is that of arXiv 2403.08487, figure 4; precision there is of as many members as others.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mia_bench.attacks.drc import DRC
from mia_bench.display.svg.style import COLOURS
from mia_bench.metrics.bootstrap import QUANTILES, Bootstrap
from mia_bench.metrics.roc import Bools, Floats, Ints
from mia_bench.storage import layout
from mia_bench.storage.index import RunRef
from mia_bench.storage.stored_files import read_frame
from mia_bench.studies.figures import as_written, interval_band, save_figure, windowless_pyplot
from mia_bench.utils.errors import MiaError
from mia_bench.verification.stored_run import StoredRun

SHARES = ("recall", "precision", "balanced")
WORDS = {
    "recall": "recall",
    "precision": "precision",
    "balanced": "precision, were they as many",
}
STYLES = {"recall": "-", "precision": ":", "balanced": "--"}
Entry = dict[str, Any]


@dataclass(frozen=True)
class VoteCurve:
    """Shares by number of votes, of one run.

    `tasks`: how many vote; `shares`: for each of `SHARES` an entry {"value", "lo", "hi"} for 1, 2
    ... `tasks` votes; a share of no row is None.
    """

    label: str
    tasks: int
    shares: dict[str, list[Entry]]
    members: int
    nonmembers: int

    @property
    def votes(self) -> range:
        return range(1, self.tasks + 1)


def vote_curve(ref: RunRef, resamples: int) -> VoteCurve:
    """The curve of a finished run of DRC with aggregate=agree.

    Raises:
        MiaError: a run whose scores are no votes, or one that cannot be read.
    """
    run = StoredRun(ref)
    attack = run.attack
    if not isinstance(attack, DRC) or attack.aggregate != "agree":
        raise MiaError(
            f"{ref.folder} is a run of {run.name}, whose scores are no votes: run attack=drc_tasks "
            "attack.drc_tasks.aggregate=agree on the same model and rows, and name that run."
        )
    table = _evaluated(ref.folder / layout.SCORES_FILE)
    is_member = table.is_member.to_numpy(dtype=np.bool_)
    seed, options = run.options.eval.seed, run.options
    boot = Bootstrap.of(is_member, table.group.tolist(), seed, resamples)
    members = int(is_member.sum())
    return VoteCurve(
        f"{options.data.name}, seed {options.seed}, model {run.entry('models', 'target')[:6]}",
        len(attack.tasks),
        shares_of(table.score.to_numpy(), is_member, boot, len(attack.tasks)),
        members,
        len(table) - members,
    )


def _evaluated(path: Path) -> pd.DataFrame:
    """`is_member`, `group` and `score` of the rows that were not fitted on. Raises MiaError."""
    table = read_frame(path)
    try:
        return table.loc[~table["calibration"].astype(bool), ["is_member", "group", "score"]]
    except (KeyError, TypeError, ValueError) as error:
        raise MiaError(f"cannot read {path}: {error}. It may be of another version.") from error


def shares_of(
    votes: NDArray[Any], is_member: Bools, boot: Bootstrap, tasks: int
) -> dict[str, list[Entry]]:
    """`SHARES` of rows (N,) for 1 ... `tasks` votes, with 95 % limits over resampled groups."""
    reached = votes[:, None] >= np.arange(1, tasks + 1)  # (N, tasks)

    def statistic(weights: Ints) -> dict[str, Floats]:
        true = (weights * is_member) @ reached.astype(np.int64)  # (b, tasks)
        false = (weights * ~is_member) @ reached.astype(np.int64)
        p = true / (weights * is_member).sum(axis=1, keepdims=True)
        f = false / (weights * ~is_member).sum(axis=1, keepdims=True)
        with np.errstate(invalid="ignore"):  # nothing reaches so many votes
            found = {"recall": p, "precision": true / (true + false), "balanced": p / (p + f)}
        return {f"{name} {k}": share[:, k] for name, share in found.items() for k in range(tasks)}

    replicates = boot.replicates(statistic)
    return {
        name: [_entry(replicates[f"{name} {k}"], boot.reason) for k in range(tasks)]
        for name in SHARES
    }


def _entry(replicates: Floats, reason: str | None) -> Entry:
    """Percentiles of those resamples in which the share is defined."""
    value, drawn = float(replicates[0]), replicates[1:][~np.isnan(replicates[1:])]
    if np.isnan(value):
        return {"value": None, "lo": None, "hi": None}
    if reason is not None or not drawn.size:
        return {"value": value, "lo": None, "hi": None}
    lo, hi = np.quantile(drawn, QUANTILES)
    return {"value": value, "lo": float(lo), "hi": float(hi)}


def draw(curves: Sequence[VoteCurve], file: Path) -> Path:
    """Shares against votes, with their 95 % intervals; the ending of `file` decides how."""
    plt = windowless_pyplot()
    figure, axes = plt.subplots(figsize=(7.2, 4.0), layout="constrained")
    for number, curve in enumerate(curves):
        for name, entries in curve.shares.items():
            known = [
                (k, entry)
                for k, entry in zip(curve.votes, entries, strict=True)
                if entry["value"] is not None
            ]
            colour = COLOURS[(number * len(SHARES) + SHARES.index(name)) % len(COLOURS)]
            label = WORDS[name]
            if len(curves) > 1:
                label += f": {as_written(curve.label)}"
            places = [k for k, _ in known]
            values = [entry["value"] for _, entry in known]
            axes.plot(places, values, STYLES[name], color=colour, marker="o", ms=4, label=label)
            interval_band(axes, places, [entry for _, entry in known], colour)
    axes.set_xticks(range(1, max(curve.tasks for curve in curves) + 1))
    axes.set_ylim(0, 1.02)
    axes.set_xlabel("votes, at least")
    axes.set_ylabel("share, 95 % intervals")
    axes.legend(fontsize=8, loc="lower left")
    if len(curves) == 1:
        axes.set_title(as_written(curves[0].label), fontsize=10)
    return save_figure(figure, file)
