"""How a model is fine-tuned: the schema of `finetune`, its checks, and what of it is identity."""

from __future__ import annotations

import importlib.util
import math
from dataclasses import dataclass, field, replace
from typing import Any

from omegaconf import MISSING

from mia_bench.utils.errors import MiaError
from mia_bench.utils.text import nearest

LORA_TARGETS = ("to_q", "to_k", "to_v", "to_out.0")
OPTIMIZERS = ("adamw", "adamw_fused", "adamw_8bit")
TIMESTEP_SAMPLINGS = ("uniform", "logit_normal", "u_shaped", "sparse_band")
LOSSES = ("native", "clean")
MAX_STEEPNESS = 100.0  # beyond it, nothing but the ends of the grid is drawn


@dataclass
class Recipe:
    """How a model is fine-tuned: owned by the model yaml, overridden by mitigations.

    `steps` (optimiser steps of the global batch) or `epochs` (passes over the members) is given;
    `resolved` turns the second into the first.
    """

    steps: int | None = None
    """Optimiser steps of the global batch; null where epochs are given."""
    epochs: float | None = None
    """Passes over the members, in place of steps."""
    batch_size: int = MISSING
    """Global batch, over all devices and accumulated parts."""
    lr: float = MISSING
    """Learning rate, constant after the warm-up."""
    warmup: int = 0
    """Steps over which the learning rate rises linearly."""
    weight_decay: float = 1e-2
    """AdamW's decoupled weight decay."""
    max_grad_norm: float = 1.0
    """Norm at which gradients are clipped; 0: never."""
    from_scratch: bool = False
    """Train random weights, for a model that has no others (model.path=null)."""
    p_uncond: float = 0.0
    """Probability of the empty caption at every step."""
    ema_decay: float | None = None
    """Decay of averaged weights, which are then validated and attacked; null: the last weights."""
    optimizer: str = "adamw"
    """adamw, adamw_fused or adamw_8bit (needs bitsandbytes)."""
    lora_rank: int | None = None
    """Rank of low-rank adapters that are trained in place of every weight; null: all weights."""
    lora_targets: list[str] = field(default_factory=lambda: list(LORA_TARGETS))
    """Layers that get adapters, by the end of their names."""
    gradient_checkpointing: bool = False
    """Compute activations twice instead of keeping them: slower and smaller."""
    cache_latents: bool | None = None
    """Train on latents encoded once; null: unless images are augmented afresh at each step."""
    accumulate: int = 1
    """Parts into which a batch is cut, one after the other; divides batch_size."""
    save_at: list[int] = field(default_factory=list)
    """Steps whose weights are saved beside the last, to attack with checkpoint=."""
    val_every: int = 100
    """Steps between validations."""
    val_rows: int = 64
    """Rows of members and of the validation role that are validated on."""
    checkpoint_every: int = 100
    """Steps between checkpoints to resume from."""
    timesteps: str = "uniform"
    """Density of the noise levels trained at: uniform, logit_normal, u_shaped or sparse_band."""
    timestep_steepness: float = 4.0
    """Of u_shaped: k of exp(k u) + exp(k (1 - u))."""
    timestep_band: list[float] = field(default_factory=lambda: [0.1, 0.5])
    """Of sparse_band: the levels, as shares of the grid, that are rarely trained."""
    timestep_band_density: float = 0.1
    """Of sparse_band: how often a level of the band is drawn, relative to one outside."""
    timestep_shift: float = 1.0
    """Moves those levels towards noise, s sigma / (1 + (s - 1) sigma); 1: not at all."""
    loss: str = "native"
    """native: on what the network predicts; clean: on the clean latents (flow matching alone)."""
    seed: int = "${seed}"  # type: ignore[assignment]
    """Of order, timesteps, noise and adapters while fine-tuning."""

    @property
    def total(self) -> int:
        """Optimiser steps; only of a resolved recipe."""
        if self.steps is None:
            raise MiaError("this recipe counts epochs: resolve it with its number of members.")
        return self.steps

    def resolved(self, members: int) -> Recipe:
        """The same recipe counted in steps: ceil(epochs x members / batch_size).

        Raises:
            MiaError: `save_at` lies outside the steps, or these are beyond counting.
        """
        if self.steps is None:
            assert self.epochs is not None
            steps = self.epochs * members / self.batch_size
            if not math.isfinite(steps):
                raise MiaError(f"epochs={self.epochs} are more steps than can be counted.")
            return replace(self, steps=max(1, math.ceil(steps)), epochs=None).resolved(members)
        if any(not 0 < step <= self.steps for step in self.save_at):
            raise MiaError(
                f"finetune.save_at={self.save_at} lies outside 1 to finetune.steps={self.steps}."
            )
        return self

    def identity(self) -> dict[str, Any]:
        """What decides the weights on disk: not how often they are validated or checkpointed.

        Options added since the first release count when they are not at their default, so that
        models trained before keep their keys.
        """
        left_out = {"val_every", "val_rows", "checkpoint_every", "epochs"}
        left_out |= {"gradient_checkpointing", "cache_latents"}
        if not self.save_at:
            left_out.add("save_at")  # the last step is always saved
        if self.optimizer == "adamw":
            left_out.add("optimizer")
        if not self.from_scratch:
            left_out.add("from_scratch")
        if self.lora_rank is None:
            left_out |= {"lora_rank", "lora_targets"}
        later = {"timesteps": "uniform", "timestep_shift": 1.0, "loss": "native"}
        left_out |= {name for name, usual in later.items() if getattr(self, name) == usual}
        if self.timesteps != "u_shaped" or self.timestep_steepness == 4.0:
            left_out.add("timestep_steepness")
        if self.timesteps != "sparse_band":
            left_out |= {"timestep_band", "timestep_band_density"}
        options = {name: value for name, value in vars(self).items() if name not in left_out}
        return options | {"steps": self.total}


def check_replaced(lora_rank: int | None, lr: float | None) -> None:
    """Raises ValueError for a rank or a rate in place of the recipe's that trains nothing."""
    if lora_rank is not None and lora_rank < 1:
        raise ValueError(
            f"lora_rank={lora_rank} must be 1 or more, or null for what the recipe trains"
        )
    if lr is not None and lr <= 0:
        raise ValueError(f"lr={lr} must be positive, or null for the recipe's")


def check_recipe(recipe: Recipe, precision: str) -> None:
    """Contradictions inside a recipe, which show before any data are read."""
    if (recipe.steps is None) == (recipe.epochs is None):
        state = "neither is given" if recipe.steps is None else "both are given"
        raise MiaError(
            f"finetune.steps and finetune.epochs: {state}. Set one and make the other null, e.g. "
            "finetune.steps=null finetune.epochs=20."
        )
    length = "steps" if recipe.epochs is None else "epochs"
    for name in (length, "batch_size", "lr", "accumulate", "val_every", "checkpoint_every"):
        if getattr(recipe, name) <= 0:
            raise MiaError(f"finetune.{name}={getattr(recipe, name)} must be positive.")
    for name in ("warmup", "weight_decay", "max_grad_norm", "val_rows"):
        if getattr(recipe, name) < 0:
            raise MiaError(f"finetune.{name}={getattr(recipe, name)} must be 0 or more.")
    if recipe.batch_size % recipe.accumulate:
        raise MiaError(
            f"finetune.batch_size={recipe.batch_size} is the global batch: it must be a multiple "
            f"of finetune.accumulate={recipe.accumulate}."
        )
    if not 0 <= recipe.p_uncond <= 1:
        raise MiaError(f"finetune.p_uncond={recipe.p_uncond} is a probability.")
    if recipe.ema_decay is not None and not 0 < recipe.ema_decay < 1:
        raise MiaError(f"finetune.ema_decay={recipe.ema_decay} must lie between 0 and 1, or null.")
    if recipe.lora_rank is not None and (recipe.lora_rank < 1 or not recipe.lora_targets):
        raise MiaError(
            f"finetune.lora_rank={recipe.lora_rank} must be positive, with at least one of "
            "finetune.lora_targets, or null to train every weight."
        )
    for name, value, values in (
        ("timesteps", recipe.timesteps, TIMESTEP_SAMPLINGS),
        ("loss", recipe.loss, LOSSES),
    ):
        if value not in values:
            raise MiaError(f"finetune.{name}={value}. {nearest(value, values)}")
    if not 0 < recipe.timestep_shift < math.inf:
        raise MiaError(f"finetune.timestep_shift={recipe.timestep_shift} must be positive.")
    check_density(recipe)
    if recipe.epochs is None:
        recipe.resolved(0)
    _check_optimizer(recipe, precision)


def check_density(recipe: Recipe) -> None:
    """The numbers that a density of noise levels has."""
    band = recipe.timestep_band
    if not (len(band) == 2 and 0 <= band[0] < band[1] <= 1) or band[1] - band[0] == 1:
        raise MiaError(
            f"finetune.timestep_band={band} is two shares of the grid in rising order, such as "
            "[0.1,0.5], and leaves some of it outside."
        )
    if not 0 <= recipe.timestep_band_density <= 1:
        raise MiaError(
            f"finetune.timestep_band_density={recipe.timestep_band_density} is relative to the "
            "levels outside: between 0 (never) and 1 (uniform)."
        )
    if not 0 < recipe.timestep_steepness <= MAX_STEEPNESS:
        raise MiaError(
            f"finetune.timestep_steepness={recipe.timestep_steepness} must be above 0 and at most "
            f"{MAX_STEEPNESS}."
        )


def _check_optimizer(recipe: Recipe, precision: str) -> None:
    if recipe.optimizer not in OPTIMIZERS:
        raise MiaError(f"finetune.optimizer={recipe.optimizer}. Known: {', '.join(OPTIMIZERS)}.")
    if recipe.optimizer == "adamw_8bit" and importlib.util.find_spec("bitsandbytes") is None:
        raise MiaError(
            "finetune.optimizer=adamw_8bit needs bitsandbytes, which is not installed: "
            "pip install bitsandbytes, or use finetune.optimizer=adamw."
        )
    fused, mixed = recipe.optimizer == "adamw_fused", precision.endswith("-mixed")
    if fused and mixed and recipe.max_grad_norm:
        raise MiaError(
            "finetune.optimizer=adamw_fused cannot be clipped in mixed precision (Lightning "
            "refuses it): use finetune.optimizer=adamw, trainer.precision=32-true, or "
            "finetune.max_grad_norm=0."
        )


def check_checkpoint(checkpoint: int | None, recipe: Recipe) -> None:
    """`checkpoint` is among the steps a resolved recipe saves."""
    saved = sorted({*recipe.save_at, recipe.total})
    if checkpoint is not None and checkpoint not in saved:
        raise MiaError(
            f"checkpoint={checkpoint} is not saved by this recipe. Saved steps: {saved}; "
            f"add finetune.save_at=[{checkpoint}]."
        )
