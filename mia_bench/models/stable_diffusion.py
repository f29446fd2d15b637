"""Targets of the Stable Diffusion family: 1.x, 2.x and XL; bundled, from folders, files or the hub.

The families differ in their text stack alone; which one a directory holds is written in its
model_index.json. Epsilon or v prediction comes from its scheduler.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from mia_bench.models import hub
from mia_bench.models.readers.chosen_loras import Scales, chosen_loras
from mia_bench.models.readers.clip_stack import ClipStack
from mia_bench.models.readers.parts import Parts, check_beside, unet_folder
from mia_bench.models.readers.refusals import refuse_eight_bits
from mia_bench.models.readers.single_file import check_file, config_folder, is_single_file
from mia_bench.models.readers.unet_pipeline import UnetPipeline, checked_family
from mia_bench.models.schedule import alphas_cumprod, schedule_steps, steps_with_signal
from mia_bench.models.unet_keys import encoder_key, networks_key
from mia_bench.utils.errors import MiaError, Missing

if TYPE_CHECKING:
    from torch import nn

    from mia_bench.target import LatentStore, Target


@dataclass(frozen=True)
class StableDiffusion:
    """A model of the Stable Diffusion family.

    Args:
        path: a diffusers folder, a hub id, a .safetensors file of the original layout, or
            "bundled:<name>" for a folder that ships with the package.
        resolution: pixels per side that images are resized and cropped to; None takes what the
            model's own files say, see `sized`.
        chunk: rows per U-Net call while scoring, "auto": the fastest, measured once on the device
            (speed and memory only).
        finetune: False audits the model as it is.
        revision: commit, branch or tag of the hub repository (not of its copies), null for main,
            or "pinned" for the commit this package knows.
        variant: of the weight files, e.g. "fp16"; parts without it are read plain.
        dtype: of U-Net and text encoders while scoring; training holds float32 weights.
        lora: file, folder or hub id of adapters that are added to the weights: part of the base;
            or a list of them.
        lora_scale: what the adapters are multiplied by: one number, or one for each.
        unet: a folder with a U-Net that stands in for that of `path`: checkpoint-500, unet_ema.
        embeddings: textual inversion: files of learned words, part of the base; one or a list.
        base: of a finished fine-tune (finetune=False): the model it was made from, as `path` names
            one. The same attacks on it are a control.
        config: of a single file: a folder with its configurations, or a word for those of the
            package; None tells the family by the tensors.
        attention_slicing: one attention head at a time, slower and smaller.
        vae_slicing: one image at a time through the autoencoder.
        vae_tiling: large images tile by tile, which changes latents a little.
        family: refuse directories of another one, e.g. "StableDiffusionPipeline".
        guidance: that a latent consistency model is told, of which it is part; None: 8.5, as its
            pipeline has it.
    """

    path: str
    resolution: int | None
    chunk: int | Literal["auto"] = 64
    finetune: bool = True
    revision: str | None = "pinned"
    variant: str | None = None
    dtype: str = "float32"
    lora: str | tuple[str, ...] | None = None
    lora_scale: float | tuple[float, ...] = 1.0
    unet: str | None = None
    embeddings: str | tuple[str, ...] | None = None
    base: str | None = None
    config: str | None = None
    attention_slicing: bool = False
    vae_slicing: bool = False
    vae_tiling: bool = False
    family: str | None = None
    guidance: float | None = None

    # --- where it is ------------------------------------------------------------------------------

    @property
    def folder(self) -> Path:
        """The folder of its configurations, and of its weights unless one file holds them."""
        if is_single_file(self.path):
            return config_folder(Path(self.path).expanduser(), self.config)
        return hub.locate(self.path, self.revision, self.variant)

    @property
    def parts(self) -> Parts:
        """Raises Missing for what is not here."""
        if self.config is not None and not is_single_file(self.path):
            raise MiaError(
                f"model.config={self.config} is for a single .safetensors file, and model.path="
                f"{self.path} is none: leave it out."
            )
        file = Path(self.path).expanduser() if is_single_file(self.path) else None
        unet = None if self.unet is None else unet_folder(Path(self.unet).expanduser())
        return Parts(self.folder, self.variant, unet, file)

    @property
    def pipeline(self) -> UnetPipeline:
        """What its configurations say. Raises Missing for what is not here."""
        return UnetPipeline(self.parts, self.path, self.family)

    def fetch(self) -> None:
        """Download what is not here. Raises Missing when it cannot be had."""
        if not is_single_file(self.path):
            hub.fetch(
                self.path,
                self.revision,
                self.variant,
                partial(checked_family, path=self.path, only=self.family),
            )
        for lora in self._loras():
            hub.fetch_lora(lora)
        if (base := self.base_model()) is not None:
            base.fetch()

    def base_model(self) -> StableDiffusion | None:
        """The model that `base` names, of the same resolution and precision."""
        if self.base is None:
            return None
        plain = replace(
            self,
            path=self.base,
            revision="pinned",
            config=self.config if is_single_file(self.base) else None,
            base=None,
            unet=None,
            lora=None,
            lora_scale=1.0,
            embeddings=None,
        )
        if self.resolution is None:
            plain = replace(plain, resolution=self.sized().resolution)
        plain = plain if plain._takes_guidance() else replace(plain, guidance=None)
        return plain if plain._has_variant() else replace(plain, variant=None)

    def sized(self) -> StableDiffusion:
        """This model with its own resolution where none is given, see UnetPipeline.sample_side."""
        if self.resolution is not None:
            return self
        return replace(self, resolution=self.pipeline.sample_side())

    @property
    def side(self) -> int:
        """The resolution, given or the model's own."""
        return self.resolution or self.pipeline.sample_side()

    def latent_side(self) -> int:
        """Cells per side of the latents."""
        return self.side // self.pipeline.shrink()

    # --- what it is -------------------------------------------------------------------------------

    def check(self) -> None:
        """Whether it can be built, from configurations and headers alone.

        Raises:
            Missing: the files are not here.
            MiaError: another kind of model, a schedule without meaning, parts that do not fit.
        """
        pipeline = self.pipeline
        parts, _ = pipeline.parts, pipeline.family
        schedule = pipeline.schedule()
        pipeline.check_texts()
        if parts.file is not None:
            check_file(parts.file, parts.folder, alphas_cumprod(schedule))
        if (parts.place("unet") / "config.json").is_file():
            pipeline.check_unet(self.unet)
            pipeline.check_guidance(self.guidance)
        pipeline.check_parts()
        self._check_resolution(pipeline)
        parts.check_variant(pipeline.networks, self.path)
        for part in pipeline.networks:
            refuse_eight_bits(parts.weights(part))
        if loras := self._loras():
            from mia_bench.models.readers.networks import check_loras

            check_loras(pipeline, loras)
        if self.unet is not None:
            check_beside(Path(self.unet).expanduser(), parts, pipeline.networks, self.path)

    def base_hash(self) -> str:
        """Content of the networks, the adapters on them, and whatever in the configurations, the
        tokenizers and the schedule is not as a key without it says."""
        pipeline = self.pipeline
        pipeline.parts.check_variant(pipeline.networks, self.path)
        words = None if self.embeddings is None else self._clip_stack(pipeline).words()
        return networks_key(pipeline, self._loras(), words, self.guidance)

    def encoder_hash(self) -> str:
        """Content of the autoencoder, and how images go through it."""
        return encoder_key(self.pipeline, self.side, self.dtype, self.vae_tiling)

    def timesteps(self) -> int:
        """Length of the training schedule."""
        return schedule_steps(self.pipeline.schedule())

    def timesteps_with_signal(self) -> int:
        """Those up to the last one that is not pure noise."""
        return steps_with_signal(self.pipeline.schedule())

    def sigmas(self) -> Sequence[float]:
        """(T,) noise fraction b / (a + b) at every timestep; Stable Diffusion 1's schedule where
        the model is not here yet, which all of its line share."""
        from mia_bench.target.flow_schedule import equal_noise_sigmas

        try:
            alphas = alphas_cumprod(self.pipeline.schedule())
        except Missing:
            alphas = None
        levels: list[float] = equal_noise_sigmas(alphas).tolist()
        return levels

    def caption_tokens(self, captions: Sequence[str]) -> tuple[list[tuple[int, ...]], int]:
        """(token ids of each caption, whole, and how many the text encoder reads of them)."""
        return self.pipeline.caption_tokens(captions)

    def learned_words(self) -> list[str]:
        """The words of model.embeddings, in its order."""
        if self.embeddings is None:
            return []
        return self._clip_stack(self.pipeline).learned()

    def unet_bytes(self) -> int:
        """Size of the U-Net's weights on disk."""
        return sum(file.stat().st_size for file in self.parts.weights("unet"))

    def _has_variant(self) -> bool:
        """Whether any part has weights of the variant. Absent models are not asked."""
        if self.variant is None or not self.parts_are_here():
            return True
        return self.parts.has_variant(self.pipeline.networks)

    def _takes_guidance(self) -> bool:
        """Whether its U-Net is a latent consistency model's. Absent models are not asked."""
        return not self.parts_are_here() or self.pipeline.takes_guidance()

    def parts_are_here(self) -> bool:
        try:
            return bool(self.parts.index())
        except MiaError:
            return False

    def _check_resolution(self, pipeline: UnetPipeline) -> None:
        if self.resolution is not None and self.resolution % pipeline.shrink():
            raise MiaError(
                f"model.resolution={self.resolution} must be a multiple of {pipeline.shrink()}."
            )

    def _loras(self) -> Scales:
        return chosen_loras(self.lora, self.lora_scale)

    def _clip_stack(self, pipeline: UnetPipeline) -> ClipStack:
        return ClipStack(pipeline, self._loras(), self.embeddings)

    # --- building it ------------------------------------------------------------------------------

    def load_unet(self, weights: Path | None = None, train: bool = False) -> nn.Module:
        """The base's U-Net, or the one of `weights`: a whole network, or adapters on the base."""
        import torch

        from mia_bench.models.readers.networks import (
            codec,
            floating_dtype,
            guided,
            load_unet,
            masked,
        )

        pipeline, dtype = self.pipeline, floating_dtype("float32" if train else self.dtype)
        unet = load_unet(pipeline, self._loras(), dtype, weights)
        latents = codec(pipeline, self.vae_slicing, self.vae_tiling)
        unet = guided(masked(unet, pipeline, latents, self.side), self.guidance)
        if self.attention_slicing:
            unet.set_attention_slice("max")
        plain: nn.Module = unet.to(memory_format=torch.channels_last)
        return plain

    def build(self, unet: nn.Module, seed: int, store: LatentStore | None = None) -> Target:
        """The target around `unet`. Raises MiaError for parts that do not fit."""
        from mia_bench.models.readers.networks import codec, floating_dtype
        from mia_bench.target import Target

        pipeline = self.pipeline
        schedule, side = pipeline.schedule(), self.side
        pipeline.check_unet()
        self._check_resolution(pipeline)
        cells, dtype = side // pipeline.shrink(), floating_dtype(self.dtype)
        return Target(
            unet,
            codec(pipeline, self.vae_slicing, self.vae_tiling),
            self._clip_stack(pipeline).text(side, dtype),
            (pipeline.channels(), cells, cells),
            alphas_cumprod(schedule),
            schedule["prediction_type"],
            seed,
            None if self.chunk == "auto" else self.chunk,
            store,
            dtype,
        ).eval()
