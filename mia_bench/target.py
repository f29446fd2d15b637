"""The model under attack, and every question an attack may ask it.

One concrete class serves every model family: `models/` only puts the parts together. What varies
between families (epsilon or v prediction, latent scaling, text encoders) ends here; attacks speak
of z_t, t, a condition and eps.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

import torch
from torch import Tensor, nn

from mia_bench.attacks import Access
from mia_bench.chunks import in_chunks
from mia_bench.diffusion import add_noise, ddim_step, eps_from_v, keyed_noise, signal_and_noise

__all__ = ["Access", "Batch", "Condition", "Query", "Target", "View", "grid_mse"]


@dataclass(frozen=True)
class Batch:
    """What an attack knows of B samples. There are no labels in it: an attack cannot cheat."""

    sample_id: tuple[str, ...]
    image: Tensor  # (B, 3, H, W) in [-1, 1]
    caption: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.sample_id)


@dataclass(frozen=True)
class View:
    """The latents of a batch under one image transform. (name, sample id) identifies a row."""

    name: str
    sample_id: tuple[str, ...]
    z0: Tensor  # (B, *latent)


@dataclass(frozen=True)
class Condition:
    """Text the U-Net is given, one row per sample. Rows with equal keys are the same question."""

    key: tuple[str, ...]
    hidden: Tensor  # (B, tokens, width): diffusers' encoder_hidden_states
    extra: Mapping[str, Tensor] = field(default_factory=dict)  # diffusers' added_cond_kwargs

    def to(self, device: torch.device | str) -> Condition:
        extra = {name: value.to(device) for name, value in self.extra.items()}
        return Condition(self.key, self.hidden.to(device), extra)


@dataclass(frozen=True)
class Query:
    """Ask for eps at timestep `t` under `cond`, on the noise of `draw` (one per t, or shared)."""

    t: int
    cond: Condition
    draw: int = 0
    shared: bool = False

    @property
    def noise_t(self) -> int | None:
        return None if self.shared else self.t


class Latents(Protocol):
    """Image codec of a family: images (B, 3, H, W) in [-1, 1], latents as the U-Net sees them."""

    def encode(self, image: Tensor) -> Tensor: ...
    def decode(self, z0: Tensor) -> Tensor: ...


class Text(Protocol):
    """Text stack of a model family: captions -> (hidden states, added_cond_kwargs)."""

    def embed(self, captions: Sequence[str]) -> tuple[Tensor, dict[str, Tensor]]: ...


class LatentStore(Protocol):
    """Where clean latents outlive a run: content-addressed by sample, view and encoder."""

    def get(self, view: str, sample_id: Sequence[str]) -> Mapping[str, Tensor]:
        """Those of the rows that are there, by sample id."""

    def put(self, view: str, sample_id: Sequence[str], z0: Tensor) -> None: ...


T = TypeVar("T")
CLIP_PAD = "<|endoftext|>"
RowKey = tuple[str, str, str, int, int | None, int]


class Target(nn.Module):
    """Every query an attack may make, with the number of queries kept in `queries`.

    Args:
        unet: a module with diffusers' U-Net call signature.
        latents, text: the family's image codec and text stack.
        latent_shape: (C, h, w) of one sample's latents.
        alphas_cumprod: (T,) taken from the model's own scheduler, never rebuilt.
        prediction_type: what the U-Net returns, "epsilon" or "v_prediction".
        seed: evaluation seed, part of every noise key.
        chunk: rows per U-Net call. Speed and memory only: never part of an identity.
        store: keeps clean latents across runs, or None.
        dtype: what the U-Net computes in; everything around it is float32.
    """

    a: Tensor
    b: Tensor

    def __init__(
        self,
        unet: nn.Module,
        latents: Latents,
        text: Text,
        latent_shape: tuple[int, ...],
        alphas_cumprod: Tensor,
        prediction_type: str = "epsilon",
        seed: int = 0,
        chunk: int = 64,
        store: LatentStore | None = None,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        super().__init__()
        if prediction_type not in ("epsilon", "v_prediction"):
            raise ValueError(
                f"prediction_type {prediction_type!r}: epsilon or v_prediction is needed"
            )
        self.unet, self.latents, self.text = unet, latents, text
        self.latent_shape = latent_shape
        self.prediction_type, self.seed = prediction_type, seed
        self.chunk, self.store, self.dtype = chunk, store, dtype
        a, b = signal_and_noise(alphas_cumprod)
        self.register_buffer("a", a.float(), persistent=False)
        self.register_buffer("b", b.float(), persistent=False)
        self.timesteps = len(alphas_cumprod)
        self.queries: Counter[str] = Counter()
        self._eps_hat: dict[RowKey, Tensor] = {}
        self._noise: dict[tuple[str, int | None, int], Tensor] = {}
        self._views: dict[tuple[str, tuple[str, ...]], View] = {}
        self._hidden: dict[str, tuple[Tensor, dict[str, Tensor]]] = {}
        self._asked: set[RowKey] = set()

    @property
    def device(self) -> torch.device:
        return self.a.device

    # --- images and captions -----------------------------------------------------------------

    def encode(self, image: Tensor) -> Tensor:
        """Images (B, 3, H, W) in [-1, 1] -> latents (B, *latent): the posterior mean, scaled."""
        self.queries["encode"] += len(image)
        return torch.cat(self._in_chunks(len(image), lambda rows: self.latents.encode(image[rows])))

    def decode(self, z0: Tensor) -> Tensor:
        """Latents (B, *latent) -> images (B, 3, H, W) in [-1, 1]."""
        self.queries["decode"] += len(z0)
        images = self._in_chunks(len(z0), lambda rows: self.latents.decode(z0[rows]))
        return torch.cat(images).clamp(-1, 1)

    def view(
        self, batch: Batch, name: str = "clean", transform: Callable[[Tensor], Tensor] | None = None
    ) -> View:
        """Latents of `transform(batch.image)`, encoded once per batch; `name` must identify it."""
        key = (name, batch.sample_id)
        if key not in self._views:
            self._views[key] = View(name, batch.sample_id, self._latents(batch, name, transform))
        return self._views[key]

    def _latents(
        self, batch: Batch, name: str, transform: Callable[[Tensor], Tensor] | None
    ) -> Tensor:
        """Only rows that are not stored are encoded: the last digits of a latent depend on the
        batch it was encoded in, so that encoding a row twice would give two answers."""
        ids = batch.sample_id
        known = dict(self.store.get(name, ids)) if self.store else {}
        new = [row for row, sid in enumerate(ids) if sid not in known]
        if new:
            image = batch.image.to(self.device)
            image = transform(image) if transform else image
            z0 = self.encode(image if len(new) == len(ids) else image[new])
            if self.store:
                self.store.put(name, [ids[row] for row in new], z0)
            if len(new) == len(ids):
                return z0
            known |= {ids[row]: latent for row, latent in zip(new, z0, strict=True)}
        return torch.stack([known[sid].to(self.device) for sid in ids])

    @property
    def pad_token(self) -> str:
        """The literal text that is read as padding: of the tokenizer, else what CLIP uses."""
        return str(getattr(self.text, "pad_token", CLIP_PAD))

    def embed(self, captions: Sequence[str], remember: bool = True) -> Condition:
        """Condition of one caption per row, "" being the null one; each text is embedded once.

        `remember=False` spares the memory of texts that are not asked about again.
        """
        known = self._hidden if remember else dict(self._hidden)
        new = [text for text in dict.fromkeys(captions) if text not in known]
        if new:
            self.queries["embed"] += len(new)
            hidden, extra = self.text.embed(new)
            for row, text in enumerate(new):
                known[text] = (hidden[row], {name: v[row] for name, v in extra.items()})
        rows = [known[text] for text in captions]
        extras = {name: torch.stack([extra[name] for _, extra in rows]) for name in rows[0][1]}
        return Condition(tuple(captions), torch.stack([hidden for hidden, _ in rows]), extras)

    def null(self, batch: Batch) -> Condition:
        """The empty caption, once per row."""
        return self.embed([""] * len(batch))

    # --- noise ---------------------------------------------------------------------------------

    def noise(self, sample_id: Sequence[str], t: int | None, draw: int = 0) -> Tensor:
        """(B, *latent) normal noise keyed by (seed, sample id, t, draw); t=None: shared over t."""
        for sid in sample_id:
            if (sid, t, draw) not in self._noise:
                fresh = keyed_noise(self.seed, sid, t, draw, self.latent_shape)
                self._noise[sid, t, draw] = fresh.to(self.device)
        return torch.stack([self._noise[sid, t, draw] for sid in sample_id])

    def add_noise(self, z0: Tensor, eps: Tensor, t: int | Tensor) -> Tensor:
        """z_t = a_t z0 + b_t eps."""
        return add_noise(z0, eps, *self._level(t, z0))

    # --- questions to the U-Net ----------------------------------------------------------------

    def predict_noise(
        self, z_t: Tensor, t: int | Tensor, cond: Condition, whole: bool = False
    ) -> Tensor:
        """eps (B, *latent) at (z_t, t, cond), whatever the U-Net itself predicts. NFE: B.

        `whole` asks in one call whatever the chunk, for those who watch a single forward pass.
        """
        if isinstance(t, int):
            self._check(t)
        steps = torch.as_tensor(t, device=z_t.device).expand(len(z_t))

        def ask(rows: slice) -> Tensor:
            return self._forward(z_t[rows], steps[rows], cond.hidden[rows], _rows(cond.extra, rows))

        chunks = [ask(slice(None))] if whole else self._in_chunks(len(z_t), ask)
        self.queries["forward"] += len(z_t)
        self.queries["asked"] += len(z_t)
        return chunks[0] if len(chunks) == 1 else torch.cat(chunks)

    def move(self, z_t: Tensor, eps: Tensor, t: int, s: int) -> Tensor:
        """One deterministic DDIM move t -> s (either way; s = -1 is clean) with `eps` given."""
        return ddim_step(z_t, eps, *self._level(t, z_t), *self._level(s, z_t))

    def denoise(self, z_t: Tensor, t: int, s: int, cond: Condition) -> Tensor:
        """One deterministic DDIM move t -> s, eps taken at the source step t. NFE: B."""
        return self.move(z_t, self.predict_noise(z_t, t, cond), t, s)

    def predict_grid(self, view: View, queries: Sequence[Query]) -> Tensor:
        """eps_hat (Q, B, *latent) for many timesteps, conditions and draws of one view.

        Questions equal in (view, sample, caption, t, draw) are asked once, here and across every
        attack that runs on the batch; those left fill whole chunks whatever axis they come from.
        Answers carry no gradient: attacks that need one use `predict_noise`.
        """
        for query in queries:
            self._check(query.t)
        keys = [self._row_key(view, query, row) for query in queries for row in range(len(view.z0))]
        wanted = dict.fromkeys(keys)
        self.queries["asked"] += len(wanted.keys() - self._asked)
        self._asked.update(wanted)
        places = {key: divmod(i, len(view.z0)) for i, key in reversed(list(enumerate(keys)))}
        missing = [key for key in wanted if key not in self._eps_hat]
        self._in_chunks(
            len(missing),
            lambda part: self._ask(view, queries, [(key, *places[key]) for key in missing[part]]),
        )
        grid = torch.stack([self._eps_hat[key] for key in keys])
        return grid.view(len(queries), *view.z0.shape)

    def _ask(
        self, view: View, queries: Sequence[Query], rows: list[tuple[RowKey, int, int]]
    ) -> None:
        picked = [(queries[q], row) for _, q, row in rows]
        eps = torch.cat([self.noise([view.sample_id[i]], q.noise_t, q.draw) for q, i in picked])
        t = torch.tensor([q.t for q, _ in picked], device=self.device)
        hidden = torch.stack([q.cond.hidden[i] for q, i in picked])
        extra = {
            name: torch.stack([q.cond.extra[name][i] for q, i in picked])
            for name in queries[0].cond.extra
        }
        z_t = self.add_noise(view.z0[[i for _, i in picked]], eps, t)
        for (key, _, _), row in zip(rows, self._forward(z_t, t, hidden, extra), strict=True):
            self._eps_hat[key] = row.detach()
        self.queries["forward"] += len(rows)

    def _row_key(self, view: View, query: Query, row: int) -> RowKey:
        caption = query.cond.key[row]
        return (view.name, view.sample_id[row], caption, query.t, query.noise_t, query.draw)

    def _forward(
        self, z_t: Tensor, t: Tensor, hidden: Tensor, extra: Mapping[str, Tensor]
    ) -> Tensor:
        answer = self.unet(
            z_t.to(self.dtype),
            t,
            encoder_hidden_states=hidden.to(self.dtype),
            added_cond_kwargs={k: v.to(self.dtype) for k, v in extra.items()} or None,
            return_dict=False,
        )
        raw = answer[0].to(z_t.dtype)
        if self.prediction_type == "v_prediction":
            return eps_from_v(raw, z_t, *self._level(t, z_t))
        prediction: Tensor = raw
        return prediction

    def _in_chunks(self, n: int, work: Callable[[slice], T]) -> list[T]:
        """Results of `work` on slices of n rows; a chunk that proved too large stays halved."""
        results = []
        for result, size in in_chunks(n, self.chunk, work):
            results.append(result)
            self.chunk = size
        return results

    def _level(self, t: int | Tensor, like: Tensor) -> tuple[Tensor, Tensor]:
        if isinstance(t, int):
            if t != -1:
                self._check(t)
            return self.a[t], self.b[t]
        shape = (-1,) + (1,) * (like.ndim - 1)
        return self.a[t].view(shape), self.b[t].view(shape)

    def _check(self, t: int) -> None:
        if not 0 <= t < self.timesteps:
            raise ValueError(f"timestep {t} is outside the schedule of {self.timesteps} steps")

    # --- generation ----------------------------------------------------------------------------

    @torch.no_grad()
    def generate(
        self, captions: Sequence[str], seed: int, steps: int = 50, guidance: float = 1.0
    ) -> Tensor:
        """Images (B, 3, H, W) by deterministic DDIM from noise keyed by (seed, row).

        NFE: steps per image, twice that with guidance other than 1 (Ho & Salimans 2022).
        """
        rows = range(len(captions))
        z = torch.stack(
            [keyed_noise(seed, f"generate:{i}", None, 0, self.latent_shape) for i in rows]
        )
        z, cond, null = z.to(self.device), self.embed(captions), self.embed([""] * len(captions))
        path = torch.linspace(self.timesteps - 1, 0, steps).round().int().tolist()
        for t, s in zip(path, [*path[1:], -1], strict=True):
            eps = self.predict_noise(z, t, cond)
            if guidance != 1.0:
                free = self.predict_noise(z, t, null)
                eps = free + guidance * (eps - free)
            z = self.move(z, eps, t, s)
        return self.decode(z)

    # --- bookkeeping ---------------------------------------------------------------------------

    def start_attack(self) -> None:
        """From here on `queries["asked"]` counts what the next attack would cost on its own."""
        self._asked.clear()

    def forget(self) -> None:
        """Drop what was remembered for the current batch (the null condition stays)."""
        null = self._hidden.get("")
        for memo in (self._eps_hat, self._noise, self._views, self._hidden, self._asked):
            memo.clear()
        if null is not None:
            self._hidden[""] = null


def grid_mse(target: Target, view: View, queries: Sequence[Query]) -> Tensor:
    """(B, Q) mean over elements of (eps_hat - eps)^2: ELBO terms (Ho et al. 2020, eq. 14)."""
    eps_hat = target.predict_grid(view, queries)
    eps = torch.stack([target.noise(view.sample_id, q.noise_t, q.draw) for q in queries])
    return (eps_hat.float() - eps).square().flatten(2).mean(2).T


def _rows(extra: Mapping[str, Tensor], rows: slice) -> dict[str, Tensor]:
    return {name: value[rows] for name, value in extra.items()}
