"""The model under attack, and every query an attack may make of it.

One concrete class serves every model family: `models/` only puts the parts together. Attacks speak
of z_t, t, a condition and eps. What varies between families ends in the parts (codec, text stack,
noise predictor); what makes queries cheap (memo, chunks, counting) is the engine's work.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import TypeVar

import torch
from torch import Tensor, nn

from mia_bench.target import encoding, generation
from mia_bench.target.diffusion import add_noise, ddim_step
from mia_bench.target.engine.noise_predictor import NetworkCall, NoisePredictor, call_unet
from mia_bench.target.engine.query_engine import QueryEngine
from mia_bench.target.flow_schedule import FlowSchedule
from mia_bench.target.query import (
    Batch,
    Condition,
    Latents,
    LatentStore,
    Query,
    Text,
    View,
)
from mia_bench.target.schedule import NoiseLevels, Schedule

T = TypeVar("T")
CLIP_PAD_TOKEN = "<|endoftext|>"
UNTUNED_CHUNK_ROWS = 8  # per U-Net call, until the fastest number is measured


class Target(nn.Module):
    """Every query an attack may make, with the number of queries kept in `queries`.

    Args:
        unet: the network: a U-Net of diffusers, or whatever `call` calls.
        latents, text: the family's image codec and text stack.
        latent_shape: (C, h, w) of one sample's latents.
        alphas_cumprod: (T,) taken from the model's own scheduler, never rebuilt; or a
            `FlowSchedule`, for a model of flow matching.
        prediction_type: what the network predicts, "epsilon", "v_prediction" or, of flow matching,
            "velocity".
        seed: evaluation seed, part of every noise key.
        chunk: rows per U-Net call, None: to be tuned on the device (chunk_tuning.py). Speed and
            memory only: never part of an identity.
        store: keeps clean latents across runs, or None.
        dtype: what the U-Net computes in; everything around it is float32.
        call: how the network is called.

    Raises:
        ValueError: another prediction type.
    """

    def __init__(
        self,
        unet: nn.Module,
        latents: Latents,
        text: Text,
        latent_shape: tuple[int, ...],
        alphas_cumprod: Tensor | FlowSchedule,
        prediction_type: str = "epsilon",
        seed: int = 0,
        chunk: int | None = 64,
        store: LatentStore | None = None,
        dtype: torch.dtype = torch.float32,
        call: NetworkCall = call_unet,
    ) -> None:
        super().__init__()
        self.unet, self.latents, self.text = unet, latents, text
        self.latent_shape, self.seed, self.store = latent_shape, seed, store
        self.schedule: NoiseLevels = (
            alphas_cumprod if isinstance(alphas_cumprod, FlowSchedule) else Schedule(alphas_cumprod)
        )
        self.timesteps = self.schedule.timesteps
        # up to the last with some of the image left: fewer where the last are pure noise
        self.timesteps_with_signal = self.schedule.timesteps_with_signal
        self.prediction_type = prediction_type
        self.predictor = NoisePredictor(unet, self.schedule, prediction_type, dtype, call)
        self.tunable = chunk is None
        rows = chunk or UNTUNED_CHUNK_ROWS
        self.engine = QueryEngine(self.predictor, seed, latent_shape, rows)
        self._base: list[Target] = []  # hidden from nn.Module: no part of this model
        self.generated: LatentStore | None = None  # where what this model generates is kept

    # --- what the model is ---------------------------------------------------------------------

    @property
    def a(self) -> Tensor:
        """(T + 1,) signal level per timestep; index -1 is the clean level, 1."""
        return self.schedule.a

    @property
    def b(self) -> Tensor:
        """(T + 1,) noise level per timestep; index -1 is the clean level, 0."""
        return self.schedule.b

    @property
    def device(self) -> torch.device:
        return self.schedule.a.device

    @property
    def dtype(self) -> torch.dtype:
        """What the U-Net computes in."""
        return self.predictor.dtype

    @dtype.setter
    def dtype(self, dtype: torch.dtype) -> None:
        self.predictor.dtype = dtype

    @property
    def in_pixels(self) -> bool:
        """Latents are the image itself, in [-1, 1]: the codec says so."""
        return bool(getattr(self.latents, "in_pixels", False))

    @property
    def pad_token(self) -> str:
        """The literal text that is read as padding: of the tokenizer, else what CLIP uses."""
        return str(getattr(self.text, "pad_token", CLIP_PAD_TOKEN))

    # --- the model before fine-tuning ----------------------------------------------------------

    @property
    def base(self) -> Target:
        """The model before its fine-tuning, for attacks that say `needs_base`; itself where it is
        its own base. Its queries are counted with this model's."""
        return self._base[0] if self._base else self

    def put_beside(self, base: Target) -> None:
        """Give attacks `base`, which is on the same device."""
        self._base = [base]
        base.engine.queries = self.engine.queries

    # --- images and captions -------------------------------------------------------------------

    def encode(self, image: Tensor) -> Tensor:
        """Images (B, 3, H, W) in [-1, 1] -> latents (B, *latent): the posterior mean, scaled."""
        return encoding.encode(self, image)

    def decode(self, z0: Tensor) -> Tensor:
        """Latents (B, *latent) -> images (B, 3, H, W) in [-1, 1]."""
        return encoding.decode(self, z0)

    def view(
        self, batch: Batch, name: str = "clean", transform: Callable[[Tensor], Tensor] | None = None
    ) -> View:
        """Latents of `transform(batch.image)`, encoded once per batch; `name` must identify it.

        Rows that the store holds are not encoded again; where it holds all, no image is read.
        """
        return encoding.view(self, batch, name, transform)

    def decoder_influence(self, batch: Batch, probes: int = 8) -> Tensor:
        """(B, *latent) how much each entry of the clean latents moves the decoded image, as the
        logarithm of a root mean square over `probes`; see decoder_influence.py. NFE: 0.

        Gradients are the decoder's alone. Kept per image and codec, beside the latents.

        Raises:
            MiaError: a model in pixel space, or a codec without gradients.
        """
        return encoding.influence_of_latents(self, batch, probes)

    def embed(self, captions: Sequence[str], remember: bool = True) -> Condition:
        """Condition of one caption per row, "" being the null one; each text is embedded once.

        `remember=False` saves the memory of texts that will not be used again.
        """
        return encoding.embed(self, captions, remember)

    def null(self, batch: Batch) -> Condition:
        """The empty caption, once per row."""
        return self.embed([""] * len(batch))

    # --- noise and moves -----------------------------------------------------------------------

    def noise(
        self, sample_id: Sequence[str], t: int | Sequence[int] | None, draw: int = 0
    ) -> Tensor:
        """(B, *latent) normal noise keyed by (seed, sample id, t, draw).

        Args:
            t: of all rows, or one per row; None is the draw that is shared over t.
        """
        steps = t if isinstance(t, Sequence) else [t] * len(sample_id)
        return self.engine.noise([(sid, s, draw) for sid, s in zip(sample_id, steps, strict=True)])

    def add_noise(self, z0: Tensor, eps: Tensor, t: int | Tensor) -> Tensor:
        """z_t = a_t z0 + b_t eps."""
        return add_noise(z0, eps, *self.schedule.levels(t, z0))

    def move(self, z_t: Tensor, eps: Tensor, t: int, s: int) -> Tensor:
        """One deterministic DDIM move t -> s (either way; s = -1 is clean) with `eps` given."""
        return ddim_step(z_t, eps, *self.schedule.levels(t, z_t), *self.schedule.levels(s, z_t))

    def denoise(self, z_t: Tensor, t: int, s: int, cond: Condition) -> Tensor:
        """One deterministic DDIM move t -> s, eps taken at the source step t. NFE: B."""
        return self.move(z_t, self.predict_noise(z_t, t, cond), t, s)

    # --- predictions of the U-Net --------------------------------------------------------------

    def predict_noise(
        self, z_t: Tensor, t: int | Tensor, cond: Condition, whole: bool = False
    ) -> Tensor:
        """eps_hat (B, *latent) at (z_t, t, cond), whatever the U-Net itself predicts. NFE: B.

        `whole` is one call whatever the chunk, for those who observe a single forward pass.
        """
        return self.engine.predict(z_t, t, cond, whole)

    def predict_grid(self, view: View, queries: Sequence[Query]) -> Tensor:
        """eps_hat (Q, B, *latent) for many timesteps, conditions and draws of one view.

        Queries equal in (view, sample, caption, t, draw) run once, here and across every attack
        that runs on the batch; those left fill whole chunks whatever axis they come from.
        Predictions carry no gradient: attacks that need one use `predict_noise`.
        """
        return self.engine.predict_grid(view, queries)

    def remember(
        self, name: str, view: View, cond: Condition, walk: Callable[[], Tensor]
    ) -> Tensor:
        """What `walk` returns (B, ...), computed once for every attack that runs on the batch.

        For chains of queries, whose latents follow from earlier answers, where several attacks need
        the same: the round trip of SecMI, the two predictions of PIA. `name` must identify it: all
        that decides the result besides view and condition. It carries no gradient.
        NFE: that of `walk`, once.
        """
        return self.engine.remember(name, view, cond, walk)

    def with_gradients(self, n: int, work: Callable[[slice], T], size: int = 1) -> Iterator[T]:
        """Results of `work`, forward and backward, on slices of n groups of `size` rows.

        What waits for a backward takes more memory than a query without one, so the number of rows
        that fit is kept apart from `chunk`. Queries of an attempt that did not fit are not counted.
        """
        return self.engine.with_gradients(n, work, size)

    def uncounted_on_failure(self) -> AbstractContextManager[None]:
        """Queries of an attempt that raises inside are not counted: they are made once more."""
        return self.engine.uncounted_on_failure()

    def generate(
        self,
        captions: Sequence[str],
        seed: int,
        steps: int = 50,
        guidance: float = 1.0,
        keys: Sequence[tuple[str, int]] | None = None,
    ) -> Tensor:
        """Images (B, 3, H, W) by deterministic DDIM from noise keyed by (seed, row), or by (seed,
        sample id, draw) where `keys` has these; on flow matching by Euler steps along the sigmas of
        the model's own sampler.

        NFE: steps per image, twice that with guidance other than 1 (Ho & Salimans 2022).
        """
        return generation.generate(self, captions, seed, steps, guidance, keys)

    def image_to_image(
        self,
        batch: Batch,
        captions: Sequence[str],
        strength: float,
        steps: int = 50,
        guidance: float = 1.0,
        draw: int = 0,
    ) -> Tensor:
        """Images (B, 3, H, W) made from those of the batch (SDEdit, Meng et al. 2022): noised to
        the level at which the last strength * steps of `steps` moves begin, and sampled from there.

        Noise is keyed by (seed, sample id, draw). NFE: round(strength * steps) per image, at least
        1, twice that with guidance other than 1.
        """
        return generation.image_to_image(self, batch, captions, strength, steps, guidance, draw)

    def predict_velocity(self, z_t: Tensor, sigma: float, cond: Condition) -> Tensor:
        """v_hat (B, *latent) = eps_hat - z0_hat at noise fraction sigma, of flow matching. NFE: B.

        At sigma = 1 eps no longer tells the velocity, so sampling goes by this.
        """
        return self.engine.predict(z_t, sigma, cond, native=True)

    # --- counting and the batch at hand --------------------------------------------------------

    @property
    def queries(self) -> Counter[str]:
        """NFE by kind (see query_engine.py), and "encode", "decode" and "embed"."""
        return self.engine.queries

    def start_attack(self) -> None:
        """From here on `queries["asked"]` counts what the next attack would cost on its own."""
        self.engine.memo.requested.clear()
        for base in self._base:
            base.start_attack()

    def forget(self) -> None:
        """Drop what was remembered for the current batch (the null condition stays)."""
        self.engine.memo.forget_batch()
        for base in self._base:
            base.forget()

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Target:
        """Moved to a device: what is remembered would stay on the one before."""
        self.engine.memo.clear()
        moved: Target = super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        return moved

    # --- speed ---------------------------------------------------------------------------------

    @property
    def chunk(self) -> int:
        """Rows per U-Net call."""
        return self.engine.chunks.rows

    @chunk.setter
    def chunk(self, rows: int) -> None:
        self.engine.chunks.rows = rows

    @property
    def gradient_chunk(self) -> int:
        """Rows per call whose backward follows, at most `chunk`."""
        return self.engine.gradient_chunks.rows

    @gradient_chunk.setter
    def gradient_chunk(self, rows: int) -> None:
        self.engine.gradient_chunks.rows = rows

    def compute_in(self, dtype: torch.dtype) -> None:
        """Use a U-Net whose weights are in `dtype`; everything around it stays float32."""
        self.dtype = dtype
        self.unet.to(dtype)

    def compile_unet(self, mode: str) -> None:
        """torch.compile for calls without gradients that nobody observes; equal to last digits.

        `mode`: torch's, e.g. "default", or "reduce-overhead" for CUDA graphs.
        """
        self.predictor.compile(mode)
