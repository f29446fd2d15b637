"""The batches of a fine-tune: pure functions of (seed, step).

Resuming, accumulating or spreading over devices does not change the rows, timesteps and noise of a
step.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import Dataset, IterableDataset

from mia_bench.config.recipe import Recipe
from mia_bench.metrics import Floats
from mia_bench.target import Condition
from mia_bench.target.diffusion import keyed_noise
from mia_bench.utils.errors import MiaError
from mia_bench.utils.rng import keyed_generator

StepImages = Callable[[int, Sequence[int], Sequence[int]], Tensor]
"""(step, rows, places in the global batch) -> images (B, 3, H, W)."""

VALIDATION_LEVELS = 4  # timesteps at which a row is validated


@dataclass(frozen=True)
class EncodedRows:
    """Encoded pairs of one role, on the CPU.

    N sample ids, latents (N x views, *latent), text of N x texts captions; row i owns the latents
    from i x views on, and the captions from i x texts on.
    """

    sample_id: tuple[str, ...]
    z0: Tensor
    cond: Condition
    views: int = 1
    texts: int = 1

    def take(self, count: int) -> EncodedRows:
        extra = {name: value[:count] for name, value in self.cond.extra.items()}
        cond = Condition(self.cond.key[:count], self.cond.hidden[:count], extra)
        return EncodedRows(self.sample_id[:count], self.z0[:count], cond)


class StepBatches(IterableDataset[dict[str, Tensor]]):
    """Micro-batches of every optimiser step from `start` on, for one rank.

    Rows come from one permutation per epoch, laid end to end; t and eps from one generator a step.
    With `poisson`, every row joins a step on its own with probability batch_size / N instead.
    Each step is drawn for the whole global batch and then cut, so that micro-batches and ranks see
    parts of the same step.
    """

    def __init__(
        self,
        rows: EncodedRows,
        recipe: Recipe,
        timesteps: int,
        rank: int = 0,
        world: int = 1,
        start: int = 0,
        poisson: bool = False,
        images: StepImages | None = None,
    ) -> None:
        if recipe.batch_size % (recipe.accumulate * world):
            raise MiaError(
                f"finetune.batch_size={recipe.batch_size} is the global batch: a multiple "
                f"of accumulate x devices = {recipe.accumulate * world} is needed."
            )
        self.rows, self.recipe, self.timesteps = rows, recipe, timesteps
        self.rank, self.world, self.start = rank, world, start
        self.poisson, self.images = poisson, images

    def __iter__(self) -> Iterator[dict[str, Tensor]]:
        parts = self.recipe.accumulate
        for step in range(self.start, self.recipe.total):
            batch_of_step = self.step(step)
            for part in range(parts):
                cut = slice(part * self.world + self.rank, None, parts * self.world)
                batch = {name: value[cut] for name, value in batch_of_step.items()}
                if self.images is not None:
                    rows, places = batch["row"].tolist(), batch["place"].tolist()
                    batch["image"] = self.images(step, rows, places)
                yield batch

    def step(self, step: int) -> dict[str, Tensor]:
        """The global batch of one optimiser step: row indices, timesteps, noise, caption drops.

        `view` and `text` index latents and captions. A Poisson sample of nobody is one row of
        weight zero: its step is noise alone.
        """
        row, weight = self._poisson(step) if self.poisson else self._in_order(step)
        size = len(row)
        generator = keyed_generator(self.recipe.seed, "step", step)
        versions = keyed_generator(self.recipe.seed, "version", step)
        shape = (size, *self.rows.z0.shape[1:])
        return {
            "row": row,
            "place": torch.arange(size),
            "weight": weight,
            "view": row * self.rows.views
            + torch.from_numpy(versions.integers(self.rows.views, size=size)),
            "text": row * self.rows.texts
            + torch.from_numpy(versions.integers(self.rows.texts, size=size)),
            "t": torch.from_numpy(drawn_timesteps(self.recipe, self.timesteps, generator, size)),
            "eps": torch.from_numpy(generator.standard_normal(shape, dtype=np.float32)),
            "drop": torch.from_numpy(generator.random(size) < self.recipe.p_uncond),
        }

    def _in_order(self, step: int) -> tuple[Tensor, Tensor]:
        size = self.recipe.batch_size
        return self._order(step * size, size), torch.ones(size)

    def _poisson(self, step: int) -> tuple[Tensor, Tensor]:
        n = len(self.rows.sample_id)
        draws = keyed_generator(self.recipe.seed, "poisson", step).random(n)
        (chosen,) = np.nonzero(draws < self.recipe.batch_size / n)
        if len(chosen) == 0:
            return torch.zeros(1, dtype=torch.long), torch.zeros(1)
        return torch.from_numpy(chosen), torch.ones(len(chosen))

    def _order(self, begin: int, size: int) -> Tensor:
        n = len(self.rows.sample_id)
        epochs = range(begin // n, (begin + size - 1) // n + 1)
        seed = self.recipe.seed
        orders = [keyed_generator(seed, "epoch", epoch).permutation(n) for epoch in epochs]
        offset = begin - epochs.start * n
        return torch.from_numpy(np.concatenate(orders)[offset : offset + size])


def drawn_timesteps(
    recipe: Recipe, timesteps: int, generator: np.random.Generator, size: int
) -> npt.NDArray[np.int64]:
    """(size,) places on the training grid, 0 to timesteps - 1, by `recipe.timesteps`.

    uniform       every place alike
    logit_normal  u = 1 / (1 + exp(-n)), n ~ N(0, 1) (Esser et al. 2024, arXiv 2403.03206, eq. 19)
    u_shaped      p(u) ~ exp(k u) + exp(k (1 - u)), k = 4: mid-path levels are rarely trained
                  (arXiv 2603.13421's defence as Lee et al. 2024, arXiv 2405.20320, state the shape;
                  its own k was not read) [ours]
    sparse_band   p(u) ~ density inside [lo, hi) and 1 outside: the levels that leak most on
                  schedules of 1,000 VP timesteps, 100 to 500, are rarely trained [ours]
    """
    if recipe.timesteps == "uniform":
        return generator.integers(timesteps, size=size)
    if recipe.timesteps == "logit_normal":
        u = 1 / (1 + np.exp(-generator.standard_normal(size)))
    elif recipe.timesteps == "sparse_band":
        u = _outside(recipe.timestep_band, recipe.timestep_band_density, generator.random(size))
    else:
        k = recipe.timestep_steepness
        u = np.log1p(generator.random(size) * np.expm1(k)) / k
        u = np.where(generator.random(size) < 0.5, u, 1 - u)
    return np.minimum((u * timesteps).astype(np.int64), timesteps - 1)


def _outside(band: Sequence[float], density: float, draws: Floats) -> Floats:
    """The quantiles `draws` of the density that is `density` inside `band` and one outside it."""
    lo, hi = band
    mass = np.array([0.0, lo, density * (hi - lo), 1 - hi]).cumsum()
    u: Floats = np.interp(draws * mass[-1], mass, [0.0, lo, hi, 1.0])
    return u


def validation_timesteps(schedule: int) -> tuple[int, ...]:
    """The middles of equal parts of a schedule: 125, 375, 625 and 875 of 1,000."""
    return tuple(
        (2 * i + 1) * schedule // (2 * VALIDATION_LEVELS) for i in range(VALIDATION_LEVELS)
    )


class ValidationRows(Dataset[dict[str, Any]]):
    """Rows on fixed timesteps and noise, so that two validations differ by the model alone."""

    def __init__(self, rows: EncodedRows, seed: int, timesteps: Sequence[int]) -> None:
        self.rows, self.seed, self.timesteps = rows, seed, timesteps

    def __len__(self) -> int:
        return len(self.rows.sample_id)

    def __getitem__(self, i: int) -> dict[str, Any]:
        shape = tuple(self.rows.z0.shape[1:])
        sid = self.rows.sample_id[i]
        noise = [keyed_noise(self.seed, f"validation:{sid}", t, 0, shape) for t in self.timesteps]
        return {"row": i, "eps": torch.stack(noise)}
