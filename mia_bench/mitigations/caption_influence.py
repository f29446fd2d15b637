"""SS_ei: rows whose caption moves the prediction most are left out of a step's loss.

Paper: Wen, Liu, Chen, Lyu, "Detecting, Explaining, and Mitigating Memorization in Diffusion Models"
(ICLR 2024), its mitigation at training time; "Noise as a Probe" (arXiv 2601.21628) calls it SS_ei.
Idea: what a network has memorised it predicts from the caption, so that its prediction with the
caption is far from the one without. CLiD measures that very difference.

    n_i = || eps(z_t, t, c_i) - eps(z_t, t, "") ||_2     over the whole latent, no guidance scale
    loss of a step = mean over rows with n_i < threshold

Threshold 2 is the default of the released code's README (512 px, batches of 8), 4 the Probe
paper's [S]. Cost: one more forward pass a step, without gradient. A step that keeps no row changes
no weight, as in the released code.
Differs: models of v and of velocities are compared by the noise that they imply (the code
subtracts whatever they predict). `scaled` [ours] carries the threshold to other sizes of latents.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mia_bench.mitigations import TrainingContext
from mia_bench.utils.errors import MiaError

if TYPE_CHECKING:
    from torch import Tensor

REFERENCE_ELEMENTS = 4 * 64 * 64  # of Stable Diffusion's latents at 512 px


@dataclass(frozen=True)
class CaptionInfluence:
    """Rows with a norm of `threshold` or more are dropped from the loss of that step.

    Args:
        threshold: 2 of the released code, 4 of the Probe paper.
        scaled: multiply it by sqrt(elements of the latent / 16,384), as a norm of as many equal
            deviations grows [ours].
    """

    threshold: float = 2.0
    scaled: bool = False

    def __post_init__(self) -> None:
        if not 0 < self.threshold < math.inf:
            raise ValueError("threshold must be positive and finite")

    def check(self, context: TrainingContext) -> None:
        require_whole_steps("ss_ei", context)

    def kept(self, conditional: Tensor, null: Tensor) -> Tensor:
        """(B,) booleans from noise predictions (B, *latent) with and without the caption."""
        norms = (conditional - null).flatten(1).float().norm(dim=1)
        limit = self.threshold
        if self.scaled:
            limit *= math.sqrt(conditional[0].numel() / REFERENCE_ELEMENTS)
        kept: Tensor = norms < limit
        return kept


def require_whole_steps(name: str, context: TrainingContext) -> None:
    """Raises MiaError where a step's mean over its kept rows would be taken in parts."""
    if context.recipe.accumulate > 1:
        raise MiaError(
            f"mitigation {name}: the mean over the rows that are kept is of a whole batch, and "
            f"finetune.accumulate={context.recipe.accumulate} cuts it: use finetune.accumulate=1."
        )
    if context.devices > 1:
        raise MiaError(
            f"mitigation {name}: each device would take the mean over its own kept rows: use "
            "trainer.devices=1."
        )
