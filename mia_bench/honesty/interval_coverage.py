"""How often the intervals of `metrics.summary.evaluate` contain the true value, where it is known.

Scores are standard normal, those of members `shift` higher, and alike inside near-duplicate groups
(correlation `likeness`), whose sizes are drawn from those of a real split. Thresholds are fitted on
180 + 240 other rows, as in the default run; the truth of what is measured at them is conditional
on them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mia_bench.metrics import Bools, Floats, Thresholds, fit_thresholds
from mia_bench.metrics.summary import evaluate

OPENMOJI = {1: 464, 2: 37, 3: 8, 4: 2, 5: 2}  # groups by size: evaluation rows, split seed 0
OPENCLIPART = {1: 989, 2: 105, 3: 12, 4: 8, 5: 4, 6: 4, 7: 5, 8: 3, 9: 2, 10: 2}
OPENCLIPART |= {14: 1, 15: 2, 16: 2, 19: 2, 23: 1, 27: 1, 28: 1}
CALIBRATION = (180, 240)
LIKENESS = 0.7
NAMES = ("auroc", "asr", "tpr_calibrated", "realised_fpr", "0.01")


@dataclass(frozen=True)
class Setting:
    """What is simulated: rows of both classes, and how far members lie above the others."""

    members: int
    nonmembers: int
    shift: float
    groups: str = "openmoji"
    likeness: float = LIKENESS

    @property
    def sizes(self) -> NDArray[np.int64]:
        counts = {"openmoji": OPENMOJI, "openclipart": OPENCLIPART, "none": {1: 1}}[self.groups]
        return np.repeat(list(counts), list(counts.values()))

    @property
    def auroc(self) -> float:
        from scipy.stats import norm

        return float(norm.cdf(self.shift / np.sqrt(2)))

    def truth(self, thresholds: Thresholds) -> dict[str, float]:
        """What each metric estimates; thresholds are taken as they are."""
        from scipy.stats import norm

        def rates(tau: float) -> tuple[float, float]:
            return float(norm.sf(tau - self.shift)), float(norm.sf(tau))

        values = {"auroc": self.auroc}
        if thresholds.tau_acc is not None:
            tpr, fpr = rates(thresholds.tau_acc)
            values["asr"] = 0.5 + (tpr - fpr) / 2
        values["0.01"] = rates(float(norm.isf(0.01)))[0]
        if thresholds.tau_fpr01 is not None:
            values["tpr_calibrated"], values["realised_fpr"] = rates(thresholds.tau_fpr01)
        return values


@dataclass(frozen=True)
class Covered:
    """Of `sets` intervals, how many hold the truth, and on which side the others miss it."""

    sets: int
    held: int
    below: int
    above: int
    width: float

    @property
    def share(self) -> float:
        return self.held / self.sets

    @property
    def error(self) -> float:
        """Standard error of `share`."""
        return float(np.sqrt(self.share * (1 - self.share) / self.sets))


def rows(
    rng: np.random.Generator, n: int, shift: float, setting: Setting
) -> tuple[Floats, NDArray[np.int64]]:
    """(scores (n,), group (n,)) of one class."""
    drawn = rng.choice(setting.sizes, n)
    last = int(np.searchsorted(np.cumsum(drawn), n))
    sizes = drawn[: last + 1].copy()
    sizes[-1] -= sizes.sum() - n
    common = np.repeat(rng.normal(size=sizes.size), sizes)
    own = rng.normal(size=n)
    scores = shift + np.sqrt(setting.likeness) * common + np.sqrt(1 - setting.likeness) * own
    return scores, np.repeat(np.arange(sizes.size), sizes)


def draw(
    setting: Setting, *key: int, sizes: tuple[int, int] | None = None
) -> tuple[Floats, Bools, list[str]]:
    """Scores, membership and group labels of a data set that `key` decides."""
    n1, n0 = sizes or (setting.members, setting.nonmembers)
    rng = np.random.default_rng(key)
    members, others = rows(rng, n1, setting.shift, setting), rows(rng, n0, 0.0, setting)
    labels = [f"{side}{g}" for side, group in (("m", members[1]), ("n", others[1])) for g in group]
    return np.concatenate([members[0], others[0]]), np.arange(n1 + n0) < n1, labels


def covered(setting: Setting, sets: int, resamples: int, seed: int = 0) -> dict[str, Covered]:
    """Coverage of every interval over `sets` data sets."""
    missed: dict[str, list[tuple[bool, bool, float]]] = {name: [] for name in NAMES}
    for i in range(sets):
        scores, member, group = draw(setting, seed, i)
        calibration_scores, calibration_member, _ = draw(setting, seed, i, 1, sizes=CALIBRATION)
        thresholds = fit_thresholds(calibration_scores, calibration_member)
        entries = _entries(evaluate(scores, member, group, thresholds, i, resamples))
        for name, truth in setting.truth(thresholds).items():
            lo, hi = entries[name]["lo"], entries[name]["hi"]
            if lo is not None:  # none where no false positive is allowed
                missed[name].append((truth < lo, truth > hi, hi - lo))
    return {name: _counted(misses) for name, misses in missed.items() if misses}


def _entries(metrics: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: metrics[name] if name in metrics else metrics["tpr_at_fpr"][name] for name in NAMES
    }


def _counted(misses: list[tuple[bool, bool, float]]) -> Covered:
    below, above = (int(sum(entry[i] for entry in misses)) for i in (0, 1))
    width = float(np.mean([entry[2] for entry in misses]))
    return Covered(len(misses), len(misses) - below - above, below, above, width)
