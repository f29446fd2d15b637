"""Attacks over training seeds: AUC of every row, and paired differences on the same rows.

An interval is conditional on one training of target and shadow; how far a figure moves from
training to training is what seeds show.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

from mia_bench.metrics.summary import paired_difference
from mia_bench.storage import layout
from mia_bench.storage.stored_files import Unreadable, read_frame
from mia_bench.utils.errors import MiaError
from mia_bench.utils.terminal import echo

Pair = tuple[str, str]
Interval = dict[str, float | None]

DEFAULT_COMPARED: tuple[Pair, ...] = (("clid", "loss"), ("clid", "mc"), ("clid", "mc15"))
CONTROLS = ("base", "reference")
VARIANTS = (*CONTROLS, "complexity")
"""Rows `<attack>-<variant>` have that taken out of the attack's score."""


def run_seed(
    seed: int, overrides: Sequence[str], compared: Sequence[Pair] | None = None
) -> dict[str, Interval]:
    """AUC of each attack and of its control, and paired differences, each with its interval.

    `experiment=gap` is run where `overrides` name neither attacks nor an experiment; whatever is
    finished is reused.

    Args:
        compared: attacks whose difference is taken, as they are and in each variant; None: those of
            `DEFAULT_COMPARED` that are run.

    Returns:
        by name: `clid`, `clid-base`, `clid on the base`, `clid - mc15`.

    Raises:
        MiaError: an attack of `compared` is not run.
    """
    from mia_bench.execution.single_run import run_single
    from mia_bench.planning.experiment import compose

    named = any(word.startswith(("attack=", "experiment=")) for word in overrides)
    experiment = compose(*([] if named else ["experiment=gap"]), f"seed={seed}", *overrides)
    refuse_unknown(compared or (), experiment.attacks)
    outcome = run_single(experiment)
    metrics, folders = outcome.metrics, outcome.folders
    row: dict[str, Interval] = {name: found["auroc"] for name, found in metrics.items()}
    for name, found in metrics.items():
        for control in CONTROLS:
            if control in found["controls"]:
                row[control_name(name, control)] = found["controls"][control]["auroc"]
    for a, b in pairs(DEFAULT_COMPARED if compared is None else compared, folders):
        seed_of_bootstrap = experiment.options.eval.seed
        row[f"{a} - {b}"] = readable_difference(folders[a], folders[b], seed_of_bootstrap)
    return row


def control_name(attack: str, control: str) -> str:
    return f"{attack} on the {control}"


def refuse_unknown(compared: Sequence[Pair], attacks: Collection[str]) -> None:
    """Raises MiaError where one of `compared` is not among `attacks`."""
    for name in dict.fromkeys(name for pair in compared for name in pair):
        if name not in attacks:
            raise MiaError(
                f"compare: {name} is not run; these are: {', '.join(attacks)}. "
                "Add it to attack=[...]."
            )


def pairs(compared: Sequence[Pair], rows: Collection[str]) -> Iterator[Pair]:
    """The pairs that are among `rows`: as they are, each variant, and what a variant changes."""
    for suffix in ("", *(f"-{variant}" for variant in VARIANTS)):
        for a, b in compared:
            if {f"{a}{suffix}", f"{b}{suffix}"} <= set(rows):
                yield f"{a}{suffix}", f"{b}{suffix}"
    for variant in VARIANTS:
        for attack in rows:
            if f"{attack}-{variant}" in rows:
                yield f"{attack}-{variant}", attack


def readable_difference(a: Path, b: Path, seed: int) -> Interval:
    """`difference`; null, with a message, where the scores of a run cannot be read."""
    try:
        return difference(a, b, seed)
    except Unreadable as error:
        echo(f"no difference of {a.name} and {b.name}: {error}", error=True)
        return {"value": None, "lo": None, "hi": None}


def difference(a: Path, b: Path, seed: int, n_resamples: int = 2000) -> Interval:
    """AUC of run folder `a` minus that of `b` on the same evaluation rows, with its interval."""
    tables = [read_frame(folder / layout.SCORES_FILE) for folder in (a, b)]
    first, second = (table[~table.calibration].set_index("sample_id") for table in tables)
    second = second.loc[first.index]
    auroc: Interval = paired_difference(
        first.score.to_numpy(),
        second.score.to_numpy(),
        first.is_member.to_numpy(),
        first.group.tolist(),
        seed,
        n_resamples,
    )["auroc"]
    return auroc
