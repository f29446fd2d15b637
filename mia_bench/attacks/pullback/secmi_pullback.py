"""SecMI's error over the entries of the latent that move the image.

Papers: arXiv 2511.20592 (CVPR 2026), on SecMI, arXiv 2302.01316.
    r     = z' - z~,     the round trip of secmi.py
    score = - sum_i mask_i |r_i|^p          p = 2
mask: masks.py; `mask: random` is the control `secmi_randommask`.
Access: GREY_BOX; gradients are those of the decoder, not of the network under attack.
NFE: t_sec/k + 2 (16), which are SecMI's.
Differs: t_sec = 140 as in secmi, where the code takes the best timestep on the rows it is
judged on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import Tensor

from mia_bench.attacks import Access, Attack, Calibration, Features, Floats, score_field
from mia_bench.attacks.pullback.masks import (
    check_mask,
    mask_version,
    masked_score,
    masked_sums,
    random_control,
)
from mia_bench.attacks.secmi import SecMI, round_trip
from mia_bench.target import Batch, Target


@dataclass(frozen=True)
class SecMIPullback:
    """Args: `t_sec` a multiple of the stride `k`; `p` of the powers; `drop` share of entries left
    out; `probes` of the influence; `mask` that counts."""

    t_sec: int = 140
    k: int = 10
    p: int = 2
    drop: float = 0.4
    probes: int = 8
    mask: Literal["influence", "random"] = score_field("influence")
    access: ClassVar[Access] = Access.GREY_BOX
    statistics: ClassVar[bool] = True
    needs_signal: ClassVar[bool] = True
    needs_decoder: ClassVar[bool] = True
    host: ClassVar[str] = "secmi"

    def __post_init__(self) -> None:
        check_mask(self.drop, self.probes)
        self._host()  # what it refuses
        if self.p < 1:
            raise ValueError(f"p={self.p} must be at least 1")

    def _host(self) -> SecMI:
        return SecMI(self.t_sec, self.k)

    @property
    def version(self) -> int:
        return mask_version(self.drop)

    @property
    def nfe(self) -> tuple[int, int]:
        return self._host().nfe

    def asks_at(self, schedule: int) -> Sequence[int]:
        return self._host().asks_at(schedule)

    def features(self, target: Target, batch: Batch) -> dict[str, Tensor]:
        """`influence`, `random` (B,): the sum under either mask."""
        residual = round_trip(target, batch, self.t_sec, self.k)
        return masked_sums(target, batch, residual, self.p, self.drop, self.probes)

    def score(self, features: Features, calibration: Calibration) -> Floats:
        """Minus the sum; nothing is fitted."""
        del calibration
        return masked_score(features, self.mask)

    def plain(self) -> tuple[str, Attack, str] | None:
        """The same with as many entries left out at random."""
        return random_control(self)
