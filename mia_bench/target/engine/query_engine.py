"""Queries to the U-Net: equal ones run once per batch, in calls that fit into memory, counted.

NFE are kept in `queries`: "forward" counts the rows the U-Net evaluated, "asked" what the current
attack would have cost on its own, "backward" the gradients an attack reports.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

import torch
from torch import Tensor

from mia_bench.target.diffusion import add_noise, keyed_noise
from mia_bench.target.engine.batch_memo import BatchMemo, NoiseKey, RowKey
from mia_bench.target.engine.noise_predictor import NoisePredictor
from mia_bench.target.query import Condition, Query, View
from mia_bench.utils.oom_batching import ChunkPolicy

T = TypeVar("T")
NFE_KINDS = ("forward", "asked", "backward")


class QueryEngine:
    """Runs queries on one U-Net.

    Args:
        predictor: one call of the U-Net.
        seed: evaluation seed, part of every noise key.
        latent_shape: (C, h, w) of one sample's latents.
        chunk: rows per U-Net call at first; see `ChunkPolicy`.
    """

    def __init__(
        self, predictor: NoisePredictor, seed: int, latent_shape: tuple[int, ...], chunk: int
    ) -> None:
        self.predictor, self.schedule = predictor, predictor.schedule
        self.seed, self.latent_shape = seed, latent_shape
        self.memo = BatchMemo()
        self.queries: Counter[str] = Counter()
        self.chunks = ChunkPolicy(chunk)
        # the codec may need more memory per row than the U-Net, and so does a pending backward
        self.image_chunks = ChunkPolicy(within=self.chunks)
        self.gradient_chunks = ChunkPolicy(within=self.chunks)

    # --- noise -------------------------------------------------------------------------------

    def noise(self, keys: Sequence[NoiseKey]) -> Tensor:
        """(len(keys), *latent) keyed noise; what is new goes to the device in one copy."""
        memo = self.memo.noise
        new = [key for key in dict.fromkeys(keys) if key not in memo]
        if new:
            fresh = torch.stack([keyed_noise(self.seed, *key, self.latent_shape) for key in new])
            memo.update(zip(new, on_device(fresh, self.schedule.a.device), strict=True))
        return torch.stack([memo[key] for key in keys])

    # --- predictions -------------------------------------------------------------------------

    def predict(
        self,
        z_t: Tensor,
        t: int | float | Tensor,
        cond: Condition,
        whole: bool = False,
        native: bool = False,
    ) -> Tensor:
        """eps_hat (B, *latent) at given latents, which nothing shares; see `Target`.

        `native`: what the network itself predicts, in the place of eps_hat.
        """
        if isinstance(t, int):
            self.schedule.check(t)
        predict = self.predictor.predict if native else self.predictor
        steps = t if isinstance(t, Tensor) else torch.full((len(z_t),), t, device=z_t.device)
        steps = steps.expand(len(z_t))

        def predict_rows(rows: slice) -> Tensor:
            return predict(z_t[rows], steps[rows], cond.rows(rows), observed=whole)

        if whole:
            parts = [predict_rows(slice(None))]
        else:
            parts = list(self.chunks.map(len(z_t), predict_rows))
        self.queries["forward"] += len(z_t)
        self.queries["asked"] += len(z_t)
        return parts[0] if len(parts) == 1 else torch.cat(parts)

    def predict_grid(self, view: View, queries: Sequence[Query]) -> Tensor:
        """eps_hat (Q, B, *latent) of every query on every row of the view; see `Target`."""
        for query in queries:
            self.schedule.check(query.t)
        # every row of every query by its key, and where each key comes first
        keys = [row_key(view, query, row) for query in queries for row in range(len(view.z0))]
        places = {key: divmod(i, len(view.z0)) for i, key in reversed(list(enumerate(keys)))}
        distinct = dict.fromkeys(keys)
        # the attack's own cost counts rows that an earlier attack has paid for
        self.queries["asked"] += len(distinct.keys() - self.memo.requested)
        self.memo.requested.update(distinct)
        # rows without a prediction fill whole chunks, whatever axis they come from
        missing = [key for key in distinct if key not in self.memo.predictions]

        def predict_rows(part: slice) -> None:
            keys = missing[part]
            predictions = self._predict_places(view, queries, [places[key] for key in keys])
            self.memo.predictions.update(zip(keys, predictions.detach(), strict=True))
            self.queries["forward"] += len(keys)

        for _ in self.chunks.map(len(missing), predict_rows):
            pass
        grid = torch.stack([self.memo.predictions[key] for key in keys])
        return grid.view(len(queries), *view.z0.shape)

    def _predict_places(
        self, view: View, queries: Sequence[Query], places: Sequence[tuple[int, int]]
    ) -> Tensor:
        """(len(places), *latent): one U-Net call for pairs (index of a query, row of the view)."""
        picked = [(queries[q], row) for q, row in places]
        eps = self.noise([(view.sample_id[i], q.noise_t, q.draw) for q, i in picked])
        device = self.schedule.a.device
        t = on_device(torch.tensor([q.t for q, _ in picked]), device)
        z0 = view.z0[on_device(torch.tensor([row for _, row in picked]), device)]
        z_t = add_noise(z0, eps, *self.schedule.levels(t, z0))
        cond = Condition(
            tuple(q.cond.key[i] for q, i in picked),
            torch.stack([q.cond.hidden[i] for q, i in picked]),
            {
                name: torch.stack([q.cond.extra[name][i] for q, i in picked])
                for name in queries[0].cond.extra
            },
        )
        return self.predictor(z_t, t, cond)

    def remember(
        self, name: str, view: View, cond: Condition, walk: Callable[[], Tensor]
    ) -> Tensor:
        """Where `walk` ends, walked once per batch; see `Target`."""
        memo, key = self.memo, (name, view.name, view.sample_id, cond.key)
        if key not in memo.walks:
            before = self.queries["asked"]
            end = walk().detach()
            memo.walks[key] = end, self.queries["asked"] - before
        elif key not in memo.requested:
            # the attack's own cost counts what an earlier attack has paid for
            self.queries["asked"] += memo.walks[key][1]
        memo.requested.add(key)
        return memo.walks[key][0]

    # --- gradients ---------------------------------------------------------------------------

    def with_gradients(self, n: int, work: Callable[[slice], T], group: int = 1) -> Iterator[T]:
        """Results of `work`, forward and backward, on slices of n groups; see `Target`."""

        def counted(groups: slice) -> T:
            with self.uncounted_on_failure():
                return work(groups)

        return self.gradient_chunks.map(n, counted, group)

    @contextmanager
    def uncounted_on_failure(self) -> Iterator[None]:
        """Queries of an attempt that raises inside are not counted: they are made once more."""
        before = {kind: self.queries[kind] for kind in NFE_KINDS}
        try:
            yield
        except RuntimeError:
            # `update` of a Counter adds
            self.queries.update({kind: n - self.queries[kind] for kind, n in before.items()})
            raise


def on_device(values: Tensor, device: torch.device) -> Tensor:
    """What was made on the CPU, copied to a GPU while that works on earlier queries."""
    pinned = device.type == "cuda"
    return (values.pin_memory() if pinned else values).to(device, non_blocking=pinned)


def row_key(view: View, query: Query, row: int) -> RowKey:
    """What decides eps_hat of one row of a grid query."""
    caption = query.cond.key[row]
    return (view.name, view.sample_id[row], caption, query.t, query.noise_t, query.draw)
