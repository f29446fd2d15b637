"""Mitigations that are a setting of the recipe: how long, which weights, how averaged."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

from mia_bench.config.recipe import LORA_TARGETS, Recipe, check_density, check_replaced

READ_BY = {
    "shift": "shifted",
    "steepness": "u_shaped",
    "band": "sparse_band",
    "density": "sparse_band",
}
"""Options of `Timesteps`, and the one density that reads each."""


@dataclass(frozen=True)
class Budget:
    """Fewer steps than the recipe: a fixed number, or passes over the members."""

    steps: int | None = None
    epochs: float | None = None

    def __post_init__(self) -> None:
        if (self.steps is None) == (self.epochs is None):
            raise ValueError("one of steps and epochs is needed, the other null")
        if (self.steps or self.epochs or 0) <= 0:
            raise ValueError("the budget must be positive")

    def recipe(self, recipe: Recipe) -> Recipe:
        return replace(recipe, steps=self.steps, epochs=self.epochs)


@dataclass(frozen=True)
class Lora:
    """Low-rank adapters (Hu et al. 2022) in place of every weight; `lr` null: the recipe's."""

    rank: int = 16
    lr: float | None = None
    targets: tuple[str, ...] = LORA_TARGETS

    def __post_init__(self) -> None:
        if self.rank < 1 or not self.targets:
            raise ValueError("rank must be positive, and targets name at least one layer")
        check_replaced(None, self.lr)

    def recipe(self, recipe: Recipe) -> Recipe:
        lr = recipe.lr if self.lr is None else self.lr
        return replace(recipe, lora_rank=self.rank, lora_targets=list(self.targets), lr=lr)


@dataclass(frozen=True)
class Ema:
    """Averaged weights are validated and attacked; null uses the last ones."""

    decay: float | None = 0.999

    def __post_init__(self) -> None:
        if self.decay is not None and not 0 < self.decay < 1:
            raise ValueError("decay must lie between 0 and 1, or be null")

    def recipe(self, recipe: Recipe) -> Recipe:
        return replace(recipe, ema_decay=self.decay)


@dataclass(frozen=True)
class WeightDecay:
    """AdamW's decoupled decay (Loshchilov & Hutter 2019)."""

    rate: float = 0.1

    def __post_init__(self) -> None:
        if self.rate < 0:
            raise ValueError("rate must be 0 or more")

    def recipe(self, recipe: Recipe) -> Recipe:
        return replace(recipe, weight_decay=self.rate)


@dataclass(frozen=True)
class CaptionDropout:
    """The empty caption with probability `p`, drawn at every step (Ho & Salimans 2022)."""

    p: float = 0.1

    def __post_init__(self) -> None:
        if not 0 < self.p <= 1:
            raise ValueError("p is a probability above 0")

    def recipe(self, recipe: Recipe) -> Recipe:
        return replace(recipe, p_uncond=self.p)


@dataclass(frozen=True)
class Timesteps:
    """Noise levels trained at are drawn from another density (arXiv 2603.13421's defence).

    Idea: rectified flows memorise halfway between data and noise (sigma .3 to .4), so a U-shaped
    density, which rarely trains there, suppresses it; the logit-normal one of SD3 amplifies it
    (arXiv 2606.07271). `shifted` is uniform and moved towards noise. On models of 1,000 VP
    timesteps t / T takes the place of sigma [ours]; what corresponds to mid-path there is t = 100
    to 500, which `sparse_band` rarely trains [ours].
    Differs: the paper's own steepness was not read; the shape and k = 4 are ours, see
    training/batches.py. The default shift is SD3's, 3.

    Args:
        sampling: density of the noise levels.
        shift: of `shifted`, how far levels move towards noise.
        steepness: k of `u_shaped`.
        band: of `sparse_band`, shares of the grid. That of flow matching begins with pure noise:
            there the levels of t = 100 to 500 are [0.38, 0.74].
        density: of `sparse_band`, inside the band relative to outside.
    """

    later_fields: ClassVar[Mapping[str, Any]] = {
        "steepness": 4.0,
        "band": [0.1, 0.5],
        "density": 0.1,
    }
    """Options of after the first release, with their defaults: in a key only when changed."""

    sampling: Literal["u_shaped", "uniform", "logit_normal", "shifted", "sparse_band"] = "u_shaped"
    shift: float = 3.0
    steepness: float = 4.0
    band: tuple[float, float] = (0.1, 0.5)
    density: float = 0.1

    def __post_init__(self) -> None:
        if self.shift <= 0:
            raise ValueError("shift must be positive")
        for name, reader in READ_BY.items():
            value, usual = getattr(self, name), getattr(type(self), name)
            if self.sampling != reader and value != usual:
                raise ValueError(
                    f"{name}={value} is read by sampling={reader} alone, and would do nothing "
                    f"with sampling={self.sampling}: use sampling={reader}, or leave {name} at "
                    f"{usual}"
                )

    def recipe(self, recipe: Recipe) -> Recipe:
        if self.sampling == "shifted":
            return replace(recipe, timesteps="uniform", timestep_shift=self.shift)
        changed = replace(
            recipe,
            timesteps=self.sampling,
            timestep_shift=1.0,
            timestep_steepness=self.steepness,
            timestep_band=list(self.band),
            timestep_band_density=self.density,
        )
        check_density(changed)
        return changed
