"""SMP-LoRA and MP-LoRA: the model is trained against an attacker that is trained beside it.

Paper: Luo et al., "Privacy-Preserving Low-Rank Adaptation against Membership Inference Attacks for
Latent Diffusion Models" (arXiv 2402.11989). Idea: an MLP learns to tell members from non-members by
the map of their squared errors; the model is trained to mislead it.

    e      = (eps_hat - eps)^2 at a random t, flattened            what the attacker h sees
    CE     = cross entropy of h(e) with the label "member", on the step's members
    smp    minimise  L / (beta + alpha CE + delta),  delta = 1e-5
    mp     minimise  L - alpha CE                   unstable, says the paper
    h      Adam on both labels with detached e, `attacker_steps` of them before every step

h is elements-512-256-2 with ReLU and dropout 0.5, which also holds in the model's own step;
learning rate 1e-5, weight decay 1e-4, alpha = beta = 1 [C].
The paper trains LoRA of rank 64; here every weight, or whatever adapters the recipe or
mitigation=lora trains: `lora_rank` and `lr` set both here.

Differs: CE is taken on the errors of the step itself, where the released code draws another t and
noise for it (a second backward pass). The attacker takes its steps before the model's, not after.
Non-members are the last rows of the validation role, which are never scored; the paper has a set
for it. Its attacker sees clean latents under the data's own captions, whatever is trained on.
Cost a step: `attacker_steps` forward passes over two batches, without gradient.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Literal

from mia_bench.config.recipe import Recipe, check_replaced
from mia_bench.mitigations import TrainingContext
from mia_bench.utils.errors import MiaError

if TYPE_CHECKING:
    from torch import Tensor, nn
    from torch.optim import Optimizer

DELTA = 1e-5
HIDDEN = (512, 256)


@dataclass(frozen=True)
class ProxyAttacker:
    """Training against a proxy attacker.

    Args:
        form: smp divides the loss by what the attacker loses, mp subtracts that from it.
        alpha, beta: of the formulas above; mp has no beta.
        attacker_steps: of the attacker for each of the model.
        attacker_lr, attacker_decay: of its Adam.
        dropout: of its hidden layers.
        nonmembers: validation rows that it learns non-members from, at most.
        lora_rank: train adapters of this rank; null: what the recipe trains.
        lr: of the model; null: the recipe's.
    """

    form: Literal["smp", "mp"] = "smp"
    alpha: float = 1.0
    beta: float = 1.0
    attacker_steps: int = 1
    attacker_lr: float = 1e-5
    attacker_decay: float = 1e-4
    dropout: float = 0.5
    nonmembers: int = 200
    lora_rank: int | None = None
    lr: float | None = None

    def __post_init__(self) -> None:
        if self.alpha <= 0 or self.beta < 0:
            raise ValueError("alpha must be positive, beta 0 or more")
        if min(self.attacker_steps, self.nonmembers) < 1 or self.attacker_lr <= 0:
            raise ValueError("attacker_steps, nonmembers and attacker_lr must be positive")
        if not (0 <= self.dropout < 1 and self.attacker_decay >= 0):
            raise ValueError("dropout lies from 0 to below 1, attacker_decay is 0 or more")
        check_replaced(self.lora_rank, self.lr)
        if self.form == "mp" and self.beta != type(self).beta:
            raise ValueError(
                f"beta={self.beta} is read by form=smp alone, and would do nothing with form=mp: "
                "use mitigation=smp_lora, or leave beta out"
            )

    def recipe(self, recipe: Recipe) -> Recipe:
        rank = recipe.lora_rank if self.lora_rank is None else self.lora_rank
        return replace(recipe, lora_rank=rank, lr=recipe.lr if self.lr is None else self.lr)

    def check(self, context: TrainingContext) -> None:
        if context.heldout < 2:
            raise MiaError(
                "mitigation proxy attacker (smp_lora, mp_lora): it learns what non-members look "
                f"like from the validation role, which has {context.heldout} rows: leave rows for "
                "it, e.g. data.sizes.validation=100."
            )
        if context.recipe.accumulate > 1 or context.devices > 1:
            raise MiaError(
                "mitigation proxy attacker (smp_lora, mp_lora): its objective is of a whole batch "
                "and there is one attacker: use finetune.accumulate=1 trainer.devices=1."
            )

    def attacker(self, elements: int) -> nn.ModuleList:
        """elements-512-256-2; training/proxy.py puts ReLU and dropout between them."""
        from torch import nn

        sizes = (elements, *HIDDEN, 2)
        return nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(sizes))

    def attacker_optimizer(self, attacker: nn.Module) -> Optimizer:
        import torch

        return torch.optim.Adam(
            attacker.parameters(), lr=self.attacker_lr, weight_decay=self.attacker_decay
        )

    def objective(self, loss: Tensor, adversarial: Tensor) -> Tensor:
        """The literal formulas, of two scalars."""
        if self.form == "mp":
            return loss - self.alpha * adversarial
        return loss / (self.beta + self.alpha * adversarial + DELTA)
