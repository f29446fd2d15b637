"""NoiseAgg: aggregation of the noise predicted along a short walk.

Paper: Li, Chen, Fan, "Noise Aggregation Analysis Driven by Small-Noise Injection: Efficient
Membership Inference for Diffusion Models", arXiv 2510.21783.
Idea: after a small disturbance the noise predicted for a member hardly changes along the way back.
    z     = a_T0 z0 + b_T0 e                                one injection at t = T0
    e_i   = eps(z, T0 - i m, c),  i = 0..k-1,  with a DDIM move T0 - i m -> T0 - (i+1) m between
    E     = {e_0, ..., e_{k-1}}
    score = - log(C(E) + delta)
    C: l2        1/k^2 sum_ij || e_i - e_j ||_2^2           l1  1/k^2 sum_ij || e_i - e_j ||_1
       centroid  1/k sum_i || e_i - mean_j e_j ||_2
    density: score = 1/k sum_i 1 / (d_i + delta), d_i to the nearest other e; large already means
             concentrated, so no minus and no logarithm
"Noise with standard deviation sigma = 0.1" does not say how sigma and T0 meet; `reading`:
    i    e = sigma n        sigma and T0 are independent, as in the paper's two ablations
    ii   z = z0 + sigma n   fed at T0
    iii  e = n              sigma plays no role                    n ~ N(0, I)
The signal has two parts (ours): C_l2 = || mean_j e_j ||^2 * (C_l2 / || mean_j e_j ||^2),
    size      - log(|| mean_j e_j ||^2 + delta)              how large predictions are
    relative  - log(C_l2 / || mean_j e_j ||^2 + delta)       how far apart, for their size
Access: GREY_BOX. NFE: k * n_draw (5 by default).
Differs: the paper names no prompt for text-to-image models, so the sample's caption is used, or
the null caption in the variant noise_agg_null. delta is not given: 1e-8. Scores of
several draws may be averaged (n_draw; the paper draws once). The hull volume is left out: five
points span none in this many dimensions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
import torch
from torch import Tensor

from mia_bench.attacks import Access, Calibration, Features, Floats, later_field, score_field
from mia_bench.metrics import auroc
from mia_bench.target import Batch, Condition, Target, View

PARTS = ("size", "relative")


@dataclass(frozen=True)
class NoiseAgg:
    """Args: `t` is T0; `k` predictions, `m` steps apart; `parts`: store the parts of the signal,
    too; the others as in the module's text."""

    t: int = 80
    k: int = 5
    m: int = 10
    sigma: float = 0.1
    reading: Literal["i", "ii", "iii"] = "i"
    caption: Literal["caption", "empty"] = "caption"
    n_draw: int = 1
    delta: float = 1e-8
    parts: bool = later_field(False)
    measure: Literal["l2", "l1", "centroid", "density", "size", "relative"] = score_field("l2")
    access: ClassVar[Access] = Access.GREY_BOX
    version: ClassVar[int] = 1
    statistics: ClassVar[bool] = True
    needs_signal: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.k < 2 or self.m < 1 or self.n_draw < 1:
            raise ValueError(
                f"k={self.k}, m={self.m}, n_draw={self.n_draw}: at least two predictions, one step "
                "apart, and one draw are needed"
            )
        if self.steps[-1] < 0:
            raise ValueError(f"t={self.t} is too small for {self.k} predictions {self.m} apart")
        if self.measure in PARTS and not self.parts:
            raise ValueError(f"measure={self.measure} is stored with parts=true alone")
        if self.delta <= 0 or self.sigma < 0:
            raise ValueError(
                f"delta={self.delta} must be positive, sigma={self.sigma} not negative"
            )

    @property
    def steps(self) -> tuple[int, ...]:
        return tuple(self.t - i * self.m for i in range(self.k))

    @property
    def nfe(self) -> tuple[int, int]:
        return self.k * self.n_draw, 0

    def asks_at(self, schedule: int) -> Sequence[int]:
        return self.steps

    def features(self, target: Target, batch: Batch) -> dict[str, Tensor]:
        """Every measure as a score, each (B, n_draw): `l2`, `l1`, `centroid`, `density`; with
        `parts` also `size` and `relative`."""
        c = target.null(batch) if self.caption == "empty" else target.embed(batch.caption)
        view = target.view(batch)
        walks = (self._walk(target, view, c, draw) for draw in range(self.n_draw))
        draws = [
            concentration(E, self.delta) | (signal_parts(E, self.delta) if self.parts else {})
            for E in walks
        ]
        return {name: torch.stack([draw[name] for draw in draws], dim=1) for name in draws[0]}

    def score(self, features: Features, calibration: Calibration) -> Floats:
        """The mean over draws; nothing is fitted."""
        del calibration
        scores: Floats = np.asarray(features[self.measure], dtype=np.float64).mean(axis=1)
        return scores

    def _walk(self, target: Target, view: View, c: Condition, draw: int) -> Tensor:
        """E (B, k, D)."""
        z = self._inject(target, view, draw)
        E: list[Tensor] = []
        for i, t in enumerate(self.steps):
            if i > 0:
                z = target.move(z, E[-1], self.steps[i - 1], t)
            E.append(target.predict_noise(z, t, c))
        return torch.stack(E, dim=1).float().flatten(2)

    def _inject(self, target: Target, view: View, draw: int) -> Tensor:
        n = target.noise(view.sample_id, self.t, draw)
        if self.reading == "ii":
            return view.z0 + self.sigma * n
        return target.add_noise(view.z0, n if self.reading == "iii" else self.sigma * n, self.t)


def concentration(E: Tensor, delta: float) -> dict[str, Tensor]:
    """Scores (B,) of predictions (B, k, D) under every measure; higher = closer together."""
    d = torch.cdist(E, E, compute_mode="donot_use_mm_for_euclid_dist")
    itself = torch.eye(E.shape[1], dtype=torch.bool, device=E.device)
    nearest = d.masked_fill(itself, torch.inf).amin(dim=2)
    spread = {
        "l2": d.square().mean(dim=(1, 2)),
        "l1": torch.cdist(E, E, p=1).mean(dim=(1, 2)),
        "centroid": (E - E.mean(dim=1, keepdim=True)).norm(dim=2).mean(dim=1),
    }
    scores = {name: -torch.log(value + delta) for name, value in spread.items()}
    return scores | {"density": (1 / (nearest + delta)).mean(dim=1)}


def signal_parts(E: Tensor, delta: float) -> dict[str, Tensor]:
    """Scores (B,) of predictions (B, k, D) by their size, and by their spread relative to it."""
    mean = E.mean(dim=1, keepdim=True)
    size = mean.square().sum(dim=(1, 2))
    spread = 2 * (E - mean).square().sum(dim=2).mean(dim=1)  # = 1/k^2 sum_ij ||e_i - e_j||^2
    return {"size": -torch.log(size + delta), "relative": -torch.log(spread / size + delta)}


@dataclass(frozen=True)
class TunedNoiseAgg:
    """NoiseAgg with T0, stride and reading chosen on calibration rows: our option.

    Args:
        schedules: pairs (T0, m) that are walked, in every one of `readings`.
        k, sigma, delta, caption: as in NoiseAgg.
    """

    schedules: tuple[tuple[int, int], ...] = ((40, 10), (80, 10), (80, 20), (160, 20), (320, 40))
    readings: tuple[Literal["i", "ii", "iii"], ...] = ("i", "iii")
    k: int = 5
    sigma: float = 0.1
    caption: Literal["caption", "empty"] = "caption"
    delta: float = 1e-8
    access: ClassVar[Access] = Access.GREY_BOX
    version: ClassVar[int] = 1
    statistics: ClassVar[bool] = True
    needs_signal: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if not self._walks or len(set(self._walks)) < len(self._walks):
            raise ValueError("schedules and readings: at least one of each, each once")

    @property
    def _walks(self) -> list[NoiseAgg]:
        """An attack per choice. Raises ValueError as NoiseAgg does."""
        return [
            NoiseAgg(t, self.k, m, self.sigma, reading, self.caption, delta=self.delta)
            for t, m in self.schedules
            for reading in self.readings
        ]

    @property
    def nfe(self) -> tuple[int, int]:
        return self.k * len(self._walks), 0

    def asks_at(self, schedule: int) -> Sequence[int]:
        return sorted({t for walk in self._walks for t in walk.steps})

    def features(self, target: Target, batch: Batch) -> dict[str, Tensor]:
        """`l2` (B, choices)."""
        columns = [walk.features(target, batch)["l2"][:, 0] for walk in self._walks]
        return {"l2": torch.stack(columns, dim=1)}

    def score(self, features: Features, calibration: Calibration) -> Floats:
        """The choice with the highest AUC on the calibration rows."""
        scores: Floats = np.asarray(features["l2"], dtype=np.float64)[:, self._best(calibration)]
        return scores

    def chosen(self, calibration: Calibration) -> dict[str, float]:
        """T0, stride and the place of the reading in `readings`."""
        walk = self._walks[self._best(calibration)]
        return {"t": walk.t, "m": walk.m, "reading": self.readings.index(walk.reading)}

    def _best(self, calibration: Calibration) -> int:
        columns = np.asarray(calibration.features["l2"], dtype=np.float64).T
        return int(np.argmax([auroc(column, calibration.is_member) for column in columns]))
