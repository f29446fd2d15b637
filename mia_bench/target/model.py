"""The model under attack, and every question an attack may ask it.

One concrete class serves every model family: `models/` only puts the parts together. What varies
between families (epsilon or v prediction, latent scaling, text encoders) ends here; attacks speak
of z_t, t, a condition and eps.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from mia_bench.target.diffusion import (
    add_noise,
    ddim_step,
    eps_from_v,
    keyed_noise,
    signal_and_noise,
)
from mia_bench.target.query import Batch, Condition, Latents, LatentStore, Query, Text, View
from mia_bench.utils.oom_batching import in_chunks
from mia_bench.utils.precision import exactly

T = TypeVar("T")
CLIP_PAD = "<|endoftext|>"
UNTUNED_CHUNK = 8  # rows per call until the best number is known
NoiseKey = tuple[str, int | None, int]
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
        chunk: rows per U-Net call, None: found on the device (tune.py). Speed and memory only:
            never part of an identity.
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
        chunk: int | None = 64,
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
        self.store, self.dtype = store, dtype
        self.tunable, self.chunk = chunk is None, chunk or UNTUNED_CHUNK
        self._image_chunk: int | None = None  # where the codec takes fewer rows than the U-Net
        self._gradient_chunk: int | None = None  # where fewer fit that wait for a backward
        self._compiled: list[Callable[..., Any]] = []  # in a list: not a module of its own
        self.compile_mode: str | None = None
        a, b = signal_and_noise(alphas_cumprod)
        self.register_buffer("a", a.float(), persistent=False)
        self.register_buffer("b", b.float(), persistent=False)
        self.timesteps = len(alphas_cumprod)
        self.queries: Counter[str] = Counter()
        self._eps_hat: dict[RowKey, Tensor] = {}
        self._noise: dict[NoiseKey, Tensor] = {}
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
        with exactly(self.device):
            z0 = self._pictured(len(image), lambda rows: self.latents.encode(image[rows]))
        return torch.cat(z0)

    def decode(self, z0: Tensor) -> Tensor:
        """Latents (B, *latent) -> images (B, 3, H, W) in [-1, 1]."""
        self.queries["decode"] += len(z0)
        with exactly(self.device):
            images = self._pictured(len(z0), lambda rows: self.latents.decode(z0[rows]))
        return torch.cat(images).clamp(-1, 1)

    def view(
        self, batch: Batch, name: str = "clean", transform: Callable[[Tensor], Tensor] | None = None
    ) -> View:
        """Latents of `transform(batch.image)`, encoded once per batch; `name` must identify it.

        Rows that the store holds are not encoded again; where it holds all, no image is looked at.
        """
        key = (name, batch.sample_id)
        if key not in self._views:
            known = self.store.get(name, batch.sample_id) if self.store else {}
            new = [i for i, sid in enumerate(batch.sample_id) if sid not in known]
            if new:
                image = batch.image.to(self.device)
                z0 = self.encode((transform(image) if transform else image)[new])
                ids = [batch.sample_id[i] for i in new]
                if self.store:
                    self.store.put(name, ids, z0)
                known = known | dict(zip(ids, z0, strict=True))
            rows = torch.stack([known[sid].to(self.device) for sid in batch.sample_id])
            self._views[key] = View(name, batch.sample_id, rows)
        return self._views[key]

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
        return self._drawn([(sid, t, draw) for sid in sample_id])

    def _drawn(self, keys: Sequence[NoiseKey]) -> Tensor:
        """(len(keys), *latent); what is new goes to the device in one copy."""
        new = [key for key in dict.fromkeys(keys) if key not in self._noise]
        if new:
            fresh = torch.stack([keyed_noise(self.seed, *key, self.latent_shape) for key in new])
            pinned = self.device.type == "cuda"  # copied while the GPU works on earlier questions
            if pinned:
                fresh = fresh.pin_memory()
            rows = fresh.to(self.device, non_blocking=pinned)
            self._noise.update(zip(new, rows, strict=True))
        return torch.stack([self._noise[key] for key in keys])

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
        steps = t if isinstance(t, Tensor) else torch.full((len(z_t),), t, device=z_t.device)
        steps = steps.expand(len(z_t))

        def ask(rows: slice) -> Tensor:
            part = _rows(cond.extra, rows)
            return self._forward(z_t[rows], steps[rows], cond.hidden[rows], part, whole)

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
        eps = self._drawn([(view.sample_id[i], q.noise_t, q.draw) for q, i in picked])
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

    def raw(self, z_t: Tensor, t: Tensor, cond: Condition) -> Tensor:
        """The U-Net's answer in one call that is no question of an attack: it is not counted."""
        return self._forward(z_t, t, cond.hidden, cond.extra)

    def _forward(
        self,
        z_t: Tensor,
        t: Tensor,
        hidden: Tensor,
        extra: Mapping[str, Tensor],
        watched: bool = False,
    ) -> Tensor:
        plain = watched or torch.is_grad_enabled() or not self._compiled
        unet = self.unet if plain else self._compiled[0]
        answer = unet(
            z_t.to(self.dtype),
            t,
            encoder_hidden_states=hidden.to(self.dtype),
            added_cond_kwargs={k: v.to(self.dtype) for k, v in extra.items()} or None,
            return_dict=False,
        )
        raw = answer[0].to(z_t.dtype)
        if not plain and raw is answer[0]:
            raw = raw.clone()  # a CUDA graph writes its next answer to the same place
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

    def with_gradients(self, n: int, work: Callable[[slice], T], size: int = 1) -> Iterator[T]:
        """Results of `work`, forward and backward, on slices of n groups of `size` questions.

        What waits for a backward takes more memory than a question without one: the number that
        fits is kept apart from `chunk`. Questions of an attempt that did not fit are not counted.
        """

        def counted(groups: slice) -> T:
            with self.asked_again():
                return work(groups)

        first = max(1, self.gradient_chunk // size)
        unit = "rows" if size == 1 else f"groups of {size} rows"
        for result, groups in in_chunks(n, first, counted, unit):
            if groups < first:
                self.gradient_chunk = groups * size
            yield result

    @contextmanager
    def asked_again(self) -> Iterator[None]:
        """Questions of what does not fit inside are not counted: they come once more."""
        before = {kind: self.queries[kind] for kind in ("forward", "asked", "backward")}
        try:
            yield
        except RuntimeError:
            self.queries.update({kind: n - self.queries[kind] for kind, n in before.items()})
            raise

    @property
    def gradient_chunk(self) -> int:
        """Questions per call whose backward follows."""
        return min(self.chunk, self._gradient_chunk or self.chunk)

    @gradient_chunk.setter
    def gradient_chunk(self, questions: int) -> None:
        self._gradient_chunk = questions

    def _pictured(self, n: int, work: Callable[[slice], T]) -> list[T]:
        """The same for images, which may need more memory than the U-Net does."""
        results = []
        for result, size in in_chunks(n, self._image_chunk or self.chunk, work):
            results.append(result)
            self._image_chunk = size if size < self.chunk else None
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

    # --- speed ---------------------------------------------------------------------------------

    def compute_in(self, dtype: torch.dtype) -> None:
        """Ask a U-Net whose weights are in `dtype`; everything around it stays float32."""
        self.dtype = dtype
        self.unet.to(dtype)

    def compile_unet(self, mode: str) -> None:
        """torch.compile for questions without gradients that nobody watches; equal to last digits.

        `mode`: torch's, e.g. "default", or "reduce-overhead" for CUDA graphs.
        """
        self._compiled = [torch.compile(self.unet, mode=mode)]
        self.compile_mode = mode

    # --- bookkeeping ---------------------------------------------------------------------------

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Target:
        """Moved to a device: what is remembered would stay on the one before."""
        self._hidden.clear()
        self.forget()
        moved: Target = super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        return moved

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
