"""At which noise level a model tells its members: the AUC of the loss at each level of a curve.

    AUC of -log L(sigma) over the evaluation rows, one level at a time (`attacks/rectified_flow/
    rf_curve.py` has L), on the target and, where the run has one, on the control's model

Nothing is fitted, so every evaluation row is judged. Which level is best on these rows is a finding
about the model, not an attack: whoever picks it here and reports its AUC has looked at the labels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mia_bench.attacks.rectified_flow.rf_curve import LossCurve
from mia_bench.display.attack_style import matplotlib_style
from mia_bench.display.svg.style import COLOURS
from mia_bench.evaluation.labelled_features import LabelledFeatures
from mia_bench.metrics.evaluation_rows import EvaluationRows
from mia_bench.metrics.measures import auroc
from mia_bench.metrics.thresholds import Thresholds
from mia_bench.storage.index import RunRef
from mia_bench.storage.stored_files import read_manifest
from mia_bench.studies.figures import as_written, interval_band, save_figure, windowless_pyplot
from mia_bench.utils.errors import MiaError
from mia_bench.verification.stored_inputs import inputs_of
from mia_bench.verification.stored_run import StoredRun

NO_THRESHOLDS = Thresholds(None, None, 0, "none is wanted")


@dataclass(frozen=True)
class LevelCurve:
    """AUC against the noise level, of one run.

    `levels`: noise fractions where `fractions`, else timesteps, rising; `target`, `control`: an
    entry {"value", "lo", "hi"} for each.
    """

    label: str
    fractions: bool
    levels: tuple[float, ...]
    target: tuple[dict[str, Any], ...]
    control: tuple[dict[str, Any], ...] | None
    members: int
    nonmembers: int


def level_curve(ref: RunRef, resamples: int) -> LevelCurve:
    """The curve of a finished run of rf_curve.

    Raises:
        MiaError: a run of another attack, or one that cannot be read.
    """
    run = StoredRun(ref)
    if not isinstance(attack := run.attack, LossCurve):
        raise MiaError(
            f"{ref.folder} is a run of {run.name}, which stores no loss by noise level: run "
            "attack=rf_curve on the same model and rows, and name that run."
        )
    inputs = inputs_of(run)
    fractions = _fractions(run.feature_tables.evaluation, attack.timesteps)
    levels: Sequence[float] = attack.timesteps if fractions is None else fractions
    order = sorted(range(len(levels)), key=lambda i: levels[i])
    seed, options = run.options.eval.seed, run.options

    def curve(rows: LabelledFeatures) -> tuple[dict[str, Any], ...]:
        losses = rows.table.features["log_loss"]
        return tuple(_auroc(-losses[:, i], rows, seed, resamples) for i in order)

    rows = inputs.evaluation
    members = int(rows.is_member.sum())
    return LevelCurve(
        f"{options.data.name}, seed {options.seed}, model {run.entry('models', 'target')[:6]}",
        fractions is not None,
        tuple(float(levels[i]) for i in order),
        curve(rows),
        None if inputs.base is None else curve(inputs.base),
        members,
        len(rows.is_member) - members,
    )


def _auroc(scores: Any, rows: LabelledFeatures, seed: int, resamples: int) -> dict[str, Any]:
    groups = rows.group.tolist()
    return auroc(EvaluationRows.of(scores, rows.is_member, groups, NO_THRESHOLDS, seed, resamples))


def _fractions(table: Path, timesteps: Sequence[int]) -> list[float] | None:
    """Noise fractions of timesteps, as a table of a flow-matching model has them; else None."""
    levels = read_manifest(table).get("levels")
    if not levels:
        return None
    try:
        return [float(levels[str(t)]) for t in timesteps]
    except (KeyError, TypeError, ValueError) as error:
        raise MiaError(f"{table}: its manifest lacks the noise level of {error}") from error


def draw(curves: Sequence[LevelCurve], file: Path) -> Path:
    """The curves with their 95 % intervals, controls dashed; the ending of `file` decides how.

    Raises:
        MiaError: some are told noise fractions and some timesteps.
    """
    kinds = {curve.fractions for curve in curves}
    if len(kinds) > 1:
        raise MiaError(
            "models of flow matching have noise fractions and others timesteps: one figure takes "
            "runs of one kind."
        )
    plt = windowless_pyplot()
    figure, axes = plt.subplots(figsize=(7.2, 4.0), layout="constrained")
    marker = matplotlib_style("rf_curve")["marker"]
    for number, curve in enumerate(curves):
        colour = COLOURS[number % len(COLOURS)]
        values = [entry["value"] for entry in curve.target]
        label = as_written(curve.label)
        axes.plot(curve.levels, values, color=colour, marker=marker, ms=4, label=label)
        interval_band(axes, curve.levels, curve.target, colour)
        if curve.control is not None:
            base = [entry["value"] for entry in curve.control]
            axes.plot(curve.levels, base, color=colour, linestyle="--", lw=1, label="its control")
    axes.axhline(0.5, color="grey", linestyle=":", linewidth=1)
    axes.set_xlabel("noise fraction sigma" if kinds == {True} else "timestep")
    axes.set_ylabel("AUC of the loss at one level")
    axes.legend(fontsize=8)
    return save_figure(figure, file)
