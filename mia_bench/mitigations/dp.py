"""DP-SGD (Abadi et al. 2016) through Opacus: per-sample gradients clipped, summed, and noised.

The unit that is protected is one image-caption pair, in one fine-tune, from someone who sees the
weights; near-duplicates of a pair are not counted. The noise is keyed by (seed, step) so that runs
repeat: epsilon holds only for those who do not know the seed.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING

from mia_bench.config.recipe import Recipe, check_replaced
from mia_bench.mitigations import TrainingContext
from mia_bench.utils.errors import MiaError

if TYPE_CHECKING:
    from torch import nn
    from torch.optim import Optimizer

MAX_EPSILON = 1e6  # the search for the noise of much larger ones does not end


@dataclass(frozen=True)
class DpSgd:
    """Differentially private fine-tuning.

    Args:
        clip: largest norm of one pair's gradient.
        noise: standard deviation of the noise on the sum, in units of `clip`; or
        epsilon: the budget from which that noise follows (RDP accountant).
        delta: of (epsilon, delta).
        lora_rank: train adapters of this rank alone; null trains every weight.
        lr: null keeps the recipe's.
        poisson: every pair joins a step on its own with probability batch_size / members, which is
            what the accountant assumes.
    """

    clip: float = 1.0
    noise: float | None = None
    epsilon: float | None = None
    delta: float = 1e-5
    lora_rank: int | None = None
    lr: float | None = None
    poisson: bool = True

    def __post_init__(self) -> None:
        if (self.noise is None) == (self.epsilon is None):
            raise ValueError("one of noise and epsilon is needed, the other null")
        if self.clip <= 0 or (self.noise or self.epsilon or 0) <= 0:
            raise ValueError("clip, and noise or epsilon, must be positive")
        if self.epsilon is not None and self.epsilon > MAX_EPSILON:
            raise ValueError(
                f"epsilon={self.epsilon} is above {MAX_EPSILON:g}, which promises nothing: use a "
                "smaller one, or leave mitigation=dp out"
            )
        check_replaced(self.lora_rank, self.lr)
        if not 0 < self.delta < 1:
            raise ValueError("delta lies between 0 and 1, and below one over the members")

    @property
    def version(self) -> int:
        """Part of a model's identity: in 1, convolutions of whole networks had wrong gradients."""
        return 2 if self.lora_rank is None else 1

    def recipe(self, recipe: Recipe) -> Recipe:
        # The norm of the noisy sum says nothing: only single gradients are clipped.
        rank = recipe.lora_rank if self.lora_rank is None else self.lora_rank
        lr = recipe.lr if self.lr is None else self.lr
        return replace(recipe, max_grad_norm=0.0, lora_rank=rank, lr=lr)

    def check(self, context: TrainingContext) -> None:
        for wrong, reason in self._contradictions(context):
            if wrong:
                raise MiaError(f"mitigation=dp: {reason}")
        self.multiplier(context)

    def _contradictions(self, context: TrainingContext) -> list[tuple[bool, str]]:
        recipe = context.recipe
        return [
            (
                not self.poisson,
                "the accountant assumes Poisson sampling, without it there is no epsilon to "
                "report. Use mitigation.dp.poisson=true.",
            ),
            (
                recipe.accumulate > 1,
                f"finetune.accumulate={recipe.accumulate} would clip several gradients of a step "
                "apart from each other. Use finetune.accumulate=1.",
            ),
            (
                context.devices > 1,
                "each device would sample and add noise on its own. Use trainer.devices=1.",
            ),
            (
                context.precision == "16-mixed",
                "scaled 16-bit gradients cannot be clipped one by one. Use "
                "trainer.precision=bf16-mixed or 32-true.",
            ),
            (
                recipe.gradient_checkpointing,
                "per-sample gradients need the activations. Use "
                "finetune.gradient_checkpointing=false.",
            ),
            (
                recipe.batch_size > context.members,
                f"finetune.batch_size={recipe.batch_size} exceeds the {context.members} members, "
                "from which each step is sampled.",
            ),
            (
                self.delta * context.members >= 1,
                f"delta={self.delta} allows giving away one of {context.members} members whole: "
                f"it must be well below {1 / max(1, context.members):.2g}.",
            ),
        ]

    def prepare(self, unet: nn.Module) -> nn.Module:
        """`unet` with a gradient per sample. Raises MiaError for layers that mix samples."""
        import torch
        from opacus.grad_sample import GradSampleModule
        from opacus.validators import ModuleValidator

        errors = ModuleValidator.validate(unet.train(), strict=False)
        if errors:
            raise MiaError(f"mitigation=dp: this U-Net has no per-sample gradients: {errors[0]}")
        # Opacus reads the strides of weights and of what enters a convolution as NCHW
        plain = unet.to(memory_format=torch.contiguous_format)
        wrapped: nn.Module = GradSampleModule(plain, loss_reduction="mean")
        return wrapped

    def wrap(self, optimizer: Optimizer, context: TrainingContext) -> Optimizer:
        import torch
        from opacus.optimizers import DPOptimizer

        device = optimizer.param_groups[0]["params"][0].device
        private: Optimizer = DPOptimizer(
            optimizer,
            noise_multiplier=self.multiplier(context),
            max_grad_norm=self.clip,
            expected_batch_size=context.recipe.batch_size,
            loss_reduction="mean",
            generator=torch.Generator(device),
        )
        return private

    def reseed(self, optimizer: Optimizer, seed: int, step: int) -> None:
        from opacus.optimizers import DPOptimizer

        from mia_bench.utils.rng import keyed_generator

        assert isinstance(optimizer, DPOptimizer)
        optimizer.generator.manual_seed(int(keyed_generator(seed, "dp", step).integers(2**63)))

    def multiplier(self, context: TrainingContext) -> float:
        """The noise multiplier. Raises MiaError when no noise meets `epsilon`."""
        if self.noise is not None:
            return self.noise
        assert self.epsilon is not None
        recipe = context.recipe
        rate = recipe.batch_size / context.members
        return _noise_for(self.epsilon, self.delta, rate, recipe.total)

    def spent(self, context: TrainingContext, steps: int) -> dict[str, float]:
        noise = self.multiplier(context)
        rate = context.recipe.batch_size / context.members
        epsilon = _epsilon(noise, self.delta, rate, steps)
        return {
            "epsilon": round(epsilon, 4),
            "delta": self.delta,
            "noise_multiplier": round(noise, 4),
            "clip": self.clip,
            "sampling_rate": round(rate, 6),
        }


@cache
def _noise_for(epsilon: float, delta: float, rate: float, steps: int) -> float:
    from opacus.accountants.utils import get_noise_multiplier

    try:
        with _any_order():
            noise: float = get_noise_multiplier(
                target_epsilon=epsilon,
                target_delta=delta,
                sample_rate=rate,
                steps=steps,
                accountant="rdp",
            )
    except ValueError as error:
        raise MiaError(
            f"mitigation.dp.epsilon={epsilon} at delta={delta} cannot be met by any noise in "
            f"{steps} steps at sampling rate {rate:.3g}: allow a larger epsilon or delta, train "
            "fewer steps, or sample less (finetune.batch_size, more members)."
        ) from error
    return noise


@cache
def _epsilon(noise: float, delta: float, rate: float, steps: int) -> float:
    from opacus.accountants import RDPAccountant

    accountant = RDPAccountant()
    accountant.history = [(noise, rate, steps)]
    with _any_order():
        return float(accountant.get_epsilon(delta))


@contextmanager
def _any_order() -> Iterator[None]:
    """Opacus warns when the best of its orders is the first or last: loose, and still a bound."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Optimal order is the")
        yield
