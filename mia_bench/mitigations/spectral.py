"""A spectral filter of what fine-tuning has added to the weights, after training and without data.

Paper: Zhe et al., "Filtering Memorization from Parameter-Space in Diffusion Models"
(arXiv 2605.10439), base-anchored filtering. Idea: directions of an update that lie in the principal
subspace of the weight it is added to are reused knowledge; those outside carry single images.
Read are the abstract and summaries [A]: spectral channels of the update, their alignment with the
principal subspace of the base weight, weakly aligned channels suppressed. With the SVDs

    W = P diag(w) Q^T,    dW = sum_i s_i u_i v_i^T

    k    = least number of singular values that hold `energy` of sum w^2, or `rank`
    a_i  = || P_k^T u_i ||_2 || Q_k^T v_i ||_2                      in [0, 1] [ours]
    dW'  = sum_i g_i s_i u_i v_i^T,   g_i = 1 where a_i >= alignment, else suppression

Convolutions are matrices of (outputs, inputs x kernel). For LoRA dW = B A, factored again at the
same rank; of a full fine-tune dW is the trained weight minus the base's [ours: the paper filters
LoRAs], and biases and norms, which have no spectrum, stay as trained. Cost: no evaluation.
`Shrink` is the control beside it: the whole update made smaller, whatever its directions [ours].
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mia_bench.mitigations import TrainingContext
from mia_bench.utils.errors import MiaError

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class SpectralFilter:
    """Channels of an update that are not aligned with the base weight are suppressed.

    Args:
        energy: share of the base weight's squared singular values in its principal subspace [ours].
        rank: dimensions of that subspace, in place of `energy`.
        alignment: least a_i of a channel that is kept whole [ours].
        suppression: factor of the others, 0 removes them.
    """

    energy: float | None = 0.9
    rank: int | None = None
    alignment: float = 0.3
    suppression: float = 0.0

    def __post_init__(self) -> None:
        if (self.energy is None) == (self.rank is None):
            raise ValueError("one of energy and rank is needed, the other null")
        if self.energy is not None and not 0 < self.energy <= 1:
            raise ValueError("energy is a share above 0, at most 1")
        if self.rank is not None and self.rank < 1:
            raise ValueError("rank must be 1 or more")
        if not (0 < self.alignment <= 1 and 0 <= self.suppression < 1):
            raise ValueError("alignment lies between 0 and 1, suppression from 0 to below 1")

    def check(self, context: TrainingContext) -> None:
        if context.recipe.from_scratch:
            raise MiaError(
                "mitigation spectral: finetune.from_scratch=true starts from random weights, whose "
                "principal subspace means nothing: fine-tune a trained model, or leave it out."
            )

    def filtered(self, base: Tensor, update: Tensor) -> Tensor:
        """The kept part of `update`, of the shape (outputs, inputs) that both have."""
        import torch

        u, s, vt = torch.linalg.svd(update.float(), full_matrices=False)
        left, right = self.subspace(base)
        aligned = (left.T @ u).norm(dim=0) * (vt @ right).norm(dim=1)
        gain = torch.where(aligned >= self.alignment, 1.0, self.suppression)
        kept: Tensor = (u * (gain * s)) @ vt
        return kept.to(update)

    def subspace(self, base: Tensor) -> tuple[Tensor, Tensor]:
        """(outputs, k) and (inputs, k): singular vectors of the principal subspace of `base`."""
        import torch

        p, w, qt = torch.linalg.svd(base.float(), full_matrices=False)
        if self.rank is not None:
            k = min(self.rank, len(w))
        else:
            assert self.energy is not None
            held = torch.cumsum(w.double() ** 2, 0)
            k = int(torch.searchsorted(held, self.energy * held[-1]).item()) + 1
            k = min(k, len(w))
        return p[:, :k], qt[:k].T


@dataclass(frozen=True)
class Shrink:
    """Every matrix's update times `factor`: between the base (0) and the fine-tune (1)."""

    factor: float = 0.75

    def __post_init__(self) -> None:
        if not 0 < self.factor < 1:
            raise ValueError("factor lies between 0, the base, and 1, the fine-tune")

    def check(self, context: TrainingContext) -> None:
        if context.recipe.from_scratch:
            raise MiaError(
                "mitigation shrink: finetune.from_scratch=true starts from random weights, and a "
                "model between them and the trained ones is no milder fine-tune: fine-tune a "
                "trained model, or leave it out."
            )

    def filtered(self, base: Tensor, update: Tensor) -> Tensor:
        return self.factor * update
