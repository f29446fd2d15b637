"""Whole runs in which nobody is a member: `model.finetune=false`, so the target is the base.

Every run has a seed of its own: split, noise, calibration half and bootstrap. 95 % intervals of AUC
should hold 0.5; of 20 at least 16 do with a probability of 0.997.
"""

from __future__ import annotations

from contextlib import redirect_stdout
from dataclasses import dataclass
from io import StringIO
from pathlib import Path

SMALL_SIZES = (
    "data.sizes.target_member=120",
    "data.sizes.target_nonmember=200",
    "eval.blind_rows=false",
)


@dataclass(frozen=True)
class Run:
    """AUC of one run and its limits."""

    seed: int
    value: float
    lo: float
    hi: float

    @property
    def holds(self) -> bool:
        return self.lo <= 0.5 <= self.hi


def null_runs(outputs: Path, seeds: range, *overrides: str) -> list[Run]:
    """The default attack on the untouched base, once for every seed."""
    from mia_bench.execution import single_run

    runs = []
    for seed in seeds:
        words = (
            "model.finetune=false",
            "data.random_labels=true",
            "calibration=split",
            f"seed={seed}",
            *SMALL_SIZES,
            *overrides,
        )
        with redirect_stdout(StringIO()):  # every run prints its table
            metrics, _ = single_run.run(*words, f"paths.outputs={outputs}")["clid"]
        auroc = metrics["auroc"]
        runs.append(Run(seed, auroc["value"], auroc["lo"], auroc["hi"]))
    return runs
