"""Targets in diffusers' directories: diffusion transformers, local or from the hub.

Which family a directory holds is written in its model_index.json; the families' own files say how
their latents, text and network are handled. Rectified-flow families get a `FlowSchedule`, PixArt
its betas.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from mia_bench.models import hub
from mia_bench.models.dit.directory import TransformerDirectory
from mia_bench.models.identity import dtype_key
from mia_bench.models.readers.chosen_loras import Scales, chosen_loras, lora_key
from mia_bench.models.readers.refusals import refuse_pipeline, refuse_single_file
from mia_bench.models.schedule import alphas_cumprod, schedule_steps, steps_with_signal
from mia_bench.models.weight_files import contents, read_config
from mia_bench.storage.hashing import hash_key

if TYPE_CHECKING:
    from torch import nn

    from mia_bench.models.dit.family import TransformerFamily
    from mia_bench.models.dit.loading import TransformerParts
    from mia_bench.target import FlowSchedule, LatentStore, Target

FLOW_TIMESTEPS = 1000  # attack timesteps of a FlowSchedule
SINGLE_FILES = (".safetensors", ".gguf", ".ckpt", ".sft")
WEIGHT_DTYPES = ("float32", "float16", "bfloat16")


@dataclass(frozen=True)
class DiffusionTransformer:
    """A diffusers directory of a transformer family.

    Args:
        path: a folder, a hub id, or "bundled:<name>" for one that ships with the package.
        resolution: pixels per side that images are resized and cropped to.
        family: refuse directories of another pipeline class; None takes what is there.
        guidance: input of a guidance-distilled network (FLUX.1 dev: 1, as it is fine-tuned); None
            for networks without one.
        sigma_floor: the smallest noise fraction that a flow-matching model is queried at.
        tokens: of a caption; None takes the pipeline's own.
        chunk, finetune, revision, variant, dtype, lora, lora_scale, vae_slicing, vae_tiling: see
            StableDiffusion.
        attention: one of diffusers' attention backends, e.g. "flash"; None is torch's.
        offload_text: text encoders stay on the CPU between calls.
    """

    path: str
    resolution: int
    chunk: int | Literal["auto"] = "auto"
    finetune: bool = True
    revision: str | None = None
    variant: str | None = None
    dtype: str = "float32"
    family: str | None = None
    guidance: float | None = None
    sigma_floor: float = 0.02
    tokens: int | None = None
    lora: str | tuple[str, ...] | None = None
    lora_scale: float | tuple[float, ...] = 1.0
    attention: str | None = None
    offload_text: bool = False
    vae_slicing: bool = False
    vae_tiling: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.sigma_floor <= 0.5:
            raise ValueError(f"sigma_floor={self.sigma_floor} must lie between 0 and 0.5")
        if self.tokens is not None and self.tokens < 1:
            raise ValueError(f"tokens={self.tokens} must be at least 1, or null")
        if self.dtype not in WEIGHT_DTYPES:
            raise ValueError(f"dtype={self.dtype}: use {', '.join(WEIGHT_DTYPES)}")

    # --- where it is ------------------------------------------------------------------------------

    @property
    def folder(self) -> Path:
        """Raises MiaError for a checkpoint in one file, Missing for what is not here."""
        self._refuse_file()
        return hub.locate(self.path, self.revision, self.variant)

    @property
    def kind(self) -> TransformerFamily:
        """The family of the directory. Raises MiaError where it is not read, or another one."""
        from mia_bench.models.dit.families import FAMILIES

        found = str(read_config(self.folder / "model_index.json").get("_class_name"))
        if found not in FAMILIES or self.family not in (None, found):
            raise refuse_pipeline(found, self.path, [self.family] if self.family else FAMILIES)
        return FAMILIES[found]

    @property
    def flow(self) -> bool:
        """Whether it is of flow matching; the directory is read where no family is named."""
        from mia_bench.models.dit.families import FAMILIES

        return (FAMILIES.get(self.family or "") or self.kind).flow

    @property
    def directory(self) -> TransformerDirectory:
        """What its configurations say. Raises as `folder` and `kind` do."""
        return TransformerDirectory(self.folder, self.path, self.kind, self.variant)

    def fetch(self) -> None:
        """Download what is not here. Raises Missing when it cannot be had."""
        self._refuse_file()
        hub.fetch(self.path, self.revision, self.variant)
        for lora in self._loras():
            hub.fetch_lora(lora)

    def _refuse_file(self) -> None:
        file = Path(self.path).expanduser()
        if file.suffix in SINGLE_FILES and file.is_file():
            raise refuse_single_file(file)

    def _loras(self) -> Scales:
        return chosen_loras(self.lora, self.lora_scale)

    # --- what it is -------------------------------------------------------------------------------

    def check(self) -> None:
        """Whether it can be built, from configurations and headers alone.

        Raises:
            Missing: the files are not here.
            MiaError: another kind of model, a convention that is not read, parts, adapters or a
                resolution that do not fit.
        """
        directory = self.directory
        directory.check(self.guidance)
        directory.check_lengths(self.resolution, self.tokens)
        if self._loras():
            self._parts(directory).check_loras()

    def base_hash(self) -> str:
        """Content of the networks, tokenizers, configurations, schedule and adapters, and the
        options that decide answers, the precision among them."""
        directory = self.directory
        directory.check(self.guidance)
        return hash_key(
            {
                **directory.identity(),
                "schedule": directory.schedule_identity(self.sigma_floor),
                "guidance": self.guidance,
                "tokens": self._tokens(directory),
                "lora": lora_key(self._loras()),
                **dtype_key(self.dtype),
            }
        )

    def encoder_hash(self) -> str:
        """Content of the autoencoder and its units, and how images go through it."""
        directory = self.directory
        identity = {
            "vae": contents(directory.weights("vae")),
            "config": directory.relevant("vae"),
            "resolution": self.resolution,
        }
        return hash_key(identity | ({"tiling": True} if self.vae_tiling else {}))

    def timesteps(self) -> int:
        """Length of the training schedule; of flow matching, of the one that attacks speak of."""
        return FLOW_TIMESTEPS if self.kind.flow else schedule_steps(self.directory.betas())

    def timesteps_with_signal(self) -> int:
        """Those up to the last one that is not pure noise."""
        return FLOW_TIMESTEPS if self.kind.flow else steps_with_signal(self.directory.betas())

    def sigmas(self) -> Sequence[float]:
        """(T,) noise fraction b / (a + b) at every timestep.

        Raises:
            Missing: of a family on betas, which its directory tells.
        """
        from mia_bench.target.flow_schedule import equal_noise_sigmas

        alphas = None if self.flow else alphas_cumprod(self.directory.betas())
        levels: list[float] = equal_noise_sigmas(alphas).tolist()
        return [max(level, self.sigma_floor) for level in levels] if self.flow else levels

    def unet_bytes(self) -> int:
        """Size of the transformer's weights on disk."""
        return sum(file.stat().st_size for file in self.directory.weights("transformer"))

    def latent_side(self) -> int:
        """Cells per side of the latents. Raises MiaError as `build` does."""
        return self.directory.latent_shape(self.resolution)[-1]

    def _tokens(self, directory: TransformerDirectory) -> int:
        return self.tokens or directory.family.tokens

    # --- building it ------------------------------------------------------------------------------

    def load_unet(self, weights: Path | None = None, train: bool = False) -> nn.Module:
        """The base's transformer, or the one of `weights`: whole, or adapters on the base."""
        import torch

        dtype: torch.dtype = getattr(torch, "float32" if train else self.dtype)
        return self._parts(self.directory).transformer(dtype, weights, self.attention)

    def build(self, unet: nn.Module, seed: int, store: LatentStore | None = None) -> Target:
        """The target around `unet`. Raises MiaError for parts that do not fit."""
        import torch

        from mia_bench.models.dit.adapters import PipelineText, UnitCodec
        from mia_bench.target import Target

        directory, dtype = self.directory, getattr(torch, self.dtype)
        family, parts = directory.family, self._parts(directory)
        shape = directory.latent_shape(self.resolution)
        betas = None if family.flow else directory.betas()
        vae = partial(parts.vae, self.vae_slicing, self.vae_tiling)
        pipeline, tokens = partial(parts.pipeline, dtype), self._tokens(directory)
        return Target(
            unet,
            UnitCodec(vae, family.units(directory.config("vae"))),
            PipelineText(pipeline, family.embed, tokens, self.offload_text),
            shape,
            self._flow(directory, shape) if betas is None else alphas_cumprod(betas),
            "velocity" if betas is None else betas["prediction_type"],
            seed,
            None if self.chunk == "auto" else self.chunk,
            store,
            dtype,
            family.call(directory.config("transformer"), self.guidance),
        ).eval()

    def _parts(self, directory: TransformerDirectory) -> TransformerParts:
        from mia_bench.models.dit.loading import TransformerParts

        return TransformerParts(directory, self._loras())

    def _flow(self, directory: TransformerDirectory, shape: tuple[int, ...]) -> FlowSchedule:
        from mia_bench.models.dit.scheduler import sampling_sigmas
        from mia_bench.target import FlowSchedule

        family = directory.family
        sampler = partial(sampling_sigmas, directory.scheduler(), family, shape)
        return FlowSchedule(
            self.sigma_floor, sampler=sampler, reversed_training=family.reversed_training
        )
