"""GSA: gradient attack based on subsampling and aggregation, the white-box ceiling.

Paper: Pang et al., "White-box Membership Inference Attacks against Diffusion Models",
PoPETs 2025, arXiv 2308.06405; code `py85252876/GSA`.
Idea: the gradient a sample leaves in the weights is smaller, and shaped differently, once the model
was trained on it.
    L_k = mean_d ( eps(z_{t_k}, t_k, c) - e_k )^2            t_k = T/K - 1, 2T/K - 1, ..., T - 1
    gsa  (GSA_1):  f_i = || d/dtheta_i  mean_k L_k ||_2      theta_i the i-th parameter tensor
    gsa2 (GSA_2):  f_i = mean_k || d L_k / dtheta_i ||_2
    score = P(member | f) by gradient-boosted trees on standardised f
Access: WHITE_BOX. NFE: K forward and 1 backward (gsa), K forward and K backward (gsa2), K = 10 by
default. A backward is one gradient of a loss, whatever number of U-Net calls it covers.
Rows never share a gradient: a batched backward keeps them apart by sample, layer by layer (see
gradient_norms.py); a module it cannot take apart gets one sample at a time. At most
`target.gradient_chunk` rows (pairs of sample and timestep) are in memory together.
A norm below a millionth of the sample's largest is the rounding of zero and stored as zero. The
bias of an attention's keys has no gradient, as softmax does not see it: what is left there in
float32 differs between processors, and trees would split on it.
Differs: features are standardised with calibration statistics; the paper standardises target rows
with their own, which lets rows influence each other's scores. `log=true` (our option) standardises
logarithms of the norms; trees hardly notice either.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from mia_bench.attacks import Access, Calibration, Features, Floats, score_field
from mia_bench.attacks.components.gradient_norms import recorded, separable
from mia_bench.attacks.components.loss_scale import loss_scale
from mia_bench.target import Batch, Target
from mia_bench.utils.errors import MiaError
from mia_bench.utils.oom_batching import out_of_memory

MIN_GRADIENT_NORM = 1e-12  # where the loss does not reach a tensor: the logarithm must exist
ROUNDING = (
    1e-6  # of a sample's largest norm; on a DDPM key biases have 1e-8, all others 6e-5 or more
)
MIN_ROWS_PER_CLASS = 4  # with fewer no tree can split (log-loss, min_child_weight 1)


@dataclass(frozen=True)
class GSA:
    """Args: `n_timesteps` K; `per_timestep` False for GSA_1, True for GSA_2; `log` of the norms."""

    n_timesteps: int = 10
    per_timestep: bool = False
    log: bool = score_field(False)
    access: ClassVar[Access] = Access.WHITE_BOX
    version: ClassVar[int] = 3
    statistics: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.n_timesteps < 1:
            raise ValueError(f"n_timesteps={self.n_timesteps}: at least one is needed")

    @property
    def nfe(self) -> tuple[int, int]:
        return self.n_timesteps, self.n_timesteps if self.per_timestep else 1

    def asks_at(self, schedule: int) -> Sequence[int]:
        return timesteps(schedule, self.n_timesteps)

    @property
    def least_rows(self) -> int:
        return MIN_ROWS_PER_CLASS

    def features(self, target: Target, batch: Batch) -> dict[str, Tensor]:
        """`log_norm` (B, parameter tensors): natural logarithms, so that a base's subtract well."""
        z0, path = target.view(batch).z0, timesteps(target.timesteps, self.n_timesteps)
        target.queries["backward"] += self.nfe[1] * len(batch)
        with torch.enable_grad():
            norms = self._together(target, batch, z0, path)
            if norms is None:
                norms = self._apart(target, batch, z0, path)
        norms = norms.where(norms > ROUNDING * norms.amax(1, keepdim=True), 0)
        return {"log_norm": norms.clamp_min(MIN_GRADIENT_NORM).log()}

    def _group(self, path: list[int]) -> int:
        """Rows of one sample whose gradients are added up before the norm is taken."""
        return 1 if self.per_timestep else len(path)

    def _together(self, target: Target, batch: Batch, z0: Tensor, path: list[int]) -> Tensor | None:
        """(B, parameter tensors): many samples and timesteps in each backward.

        None where layers cannot be taken apart, or not even the rows of one sample fit.
        """
        size, places = self._group(path), [(i, t) for i in range(len(batch)) for t in path]
        if not separable(target.unet) or size > target.gradient_chunk:
            return None
        scale = loss_scale(target, z0)

        def norms(groups: slice) -> Tensor:
            part = places[groups.start * size : groups.stop * size]
            with recorded(target.unet, size) as slopes:
                (losses_of(target, batch, z0, part).sum() * (scale / size)).backward()
            return slopes.table(parameters, len(part) // size) / scale

        with gradients_of(target.unet, False) as parameters:
            try:
                with target.uncounted_on_failure():
                    parts = list(target.with_gradients(len(places) // size, norms, size))
            except RuntimeError as error:
                if size == 1 or not out_of_memory(error):
                    raise
                target.gradient_chunk = size - 1  # one sample in several backwards from here on
                return None
        return torch.cat(parts).view(len(batch), -1, len(parameters)).mean(1)

    def _apart(self, target: Target, batch: Batch, z0: Tensor, path: list[int]) -> Tensor:
        """(B, parameter tensors) of any module, however large the schedule: row by row."""
        with gradients_of(target.unet, True) as parameters:
            return torch.stack(
                [self._norms(target, batch, z0, i, path, parameters) for i in range(len(batch))]
            )

    def _norms(
        self,
        target: Target,
        batch: Batch,
        z0: Tensor,
        row: int,
        path: list[int],
        parameters: list[nn.Parameter],
    ) -> Tensor:
        """(parameter tensors,) of one sample."""
        scale = loss_scale(target, z0)

        def slopes(steps: slice) -> list[Tensor]:
            loss = losses_of(target, batch, z0, [(row, t) for t in path[steps]]).sum()
            return _slopes(loss * (scale / self._group(path)), parameters)

        if self.per_timestep:
            each = [_norm(slopes(slice(k, k + 1))) for k in range(len(path))]
            return torch.stack(each).mean(0) / scale
        total = [torch.zeros_like(p) for p in parameters]
        for part in target.with_gradients(len(path), slopes):
            total = [a + b for a, b in zip(total, part, strict=True)]
        return _norm(total) / scale

    def score(self, features: Features, calibration: Calibration) -> Floats:
        """P(member) of trees fitted on calibration rows.

        Raises:
            MiaError: too few calibration rows of a class.
        """
        from sklearn.preprocessing import StandardScaler

        scaler = StandardScaler().fit(self._norm_table(calibration.features))
        trees = _boosted(scaler.transform(self._norm_table(calibration.features)), calibration)
        scores = trees.predict_proba(scaler.transform(self._norm_table(features)))[:, 1]
        return np.asarray(scores, dtype=np.float64)

    def _norm_table(self, features: Features) -> Floats:
        """(N, parameter tensors); of base-calibrated features, differences or ratios."""
        table = np.asarray(features["log_norm"], dtype=np.float64)
        return table if self.log else np.exp(table)


def timesteps(total: int, k: int) -> list[int]:
    """K equidistant timesteps that end at the last one: 99, 199, ..., 999 of 1000 for K = 10.

    Raises:
        MiaError: the schedule has fewer than K timesteps.
    """
    if k > total:
        raise MiaError(f"n_timesteps={k} do not fit into a schedule of {total} steps.")
    return [(i + 1) * total // k - 1 for i in range(k)]


@contextmanager
def gradients_of(module: nn.Module, required: bool) -> Iterator[list[nn.Parameter]]:
    """The floating-point parameters, in the module's order; inside, all or none need gradients."""
    parameters = [p for p in module.parameters() if p.is_floating_point()]
    before = [p.requires_grad for p in parameters]
    try:
        for p in parameters:
            p.requires_grad_(required)
        yield parameters
    finally:
        for p, was_required in zip(parameters, before, strict=True):
            p.requires_grad_(was_required)


def losses_of(
    target: Target, batch: Batch, z0: Tensor, places: Sequence[tuple[int, int]]
) -> Tensor:
    """(len(places),) losses L_k at (row of the batch, timestep), in one U-Net call."""
    rows, path = [i for i, _ in places], [k for _, k in places]
    t = torch.tensor(path, device=z0.device)
    eps = target.noise([batch.sample_id[i] for i in rows], path)
    z_t = target.add_noise(z0[rows], eps, t)
    cond = target.embed([batch.caption[i] for i in rows])
    eps_hat = target.predict_noise(z_t, t, cond, whole=True)
    return (eps_hat.float() - eps).square().flatten(1).mean(1)


def _slopes(loss: Tensor, parameters: list[nn.Parameter]) -> list[Tensor]:
    """d loss / d theta_i; zeros where the loss does not reach."""
    slopes = torch.autograd.grad(loss, parameters, allow_unused=True)
    pairs = zip(slopes, parameters, strict=True)
    return [torch.zeros_like(p) if g is None else g for g, p in pairs]


def _norm(slopes: list[Tensor]) -> Tensor:
    return torch.stack([g.detach().float().norm() for g in slopes])


def _boosted(table: Floats, calibration: Calibration) -> Any:
    """The released classifier, fitted."""
    from xgboost import XGBClassifier

    calibration.require(MIN_ROWS_PER_CLASS)
    trees = XGBClassifier(n_estimators=200, random_state=calibration.seed, n_jobs=1)
    return trees.fit(table, calibration.is_member.astype(int))
