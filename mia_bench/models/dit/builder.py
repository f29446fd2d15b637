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
from typing import TYPE_CHECKING, Any, Literal

from mia_bench.models import hub
from mia_bench.models.identity import IRRELEVANT
from mia_bench.models.readers.chosen_loras import chosen_loras, lora_key, read_chosen
from mia_bench.models.readers.refusals import (
    refuse_eight_bits,
    refuse_pipeline,
    refuse_single_file,
)
from mia_bench.models.schedule import alphas_cumprod, read_schedule, schedule_steps
from mia_bench.models.weight_files import contents, load, read_config, weights
from mia_bench.storage.hashing import hash_key
from mia_bench.utils.errors import MiaError

if TYPE_CHECKING:
    import torch
    from torch import nn

    from mia_bench.models.dit.family import TransformerFamily
    from mia_bench.models.lora_files import Adapters
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
        if self.dtype not in WEIGHT_DTYPES:
            raise ValueError(f"dtype={self.dtype}: use {', '.join(WEIGHT_DTYPES)}")

    @property
    def folder(self) -> Path:
        """Raises MiaError for a checkpoint in one file, Missing for what is not here."""
        file = Path(self.path).expanduser()
        if file.suffix in SINGLE_FILES and file.is_file():
            raise refuse_single_file(file)
        return hub.locate(self.path, self.revision, self.variant)

    @property
    def kind(self) -> TransformerFamily:
        """The family of the directory. Raises MiaError where it is not read, or another one."""
        from mia_bench.models.dit.families import FAMILIES

        found = str(read_config(self.folder / "model_index.json").get("_class_name"))
        if found not in FAMILIES or self.family not in (None, found):
            raise refuse_pipeline(found, self.path, [self.family] if self.family else FAMILIES)
        return FAMILIES[found]

    # --- identity ------------------------------------------------------------------------------

    def fetch(self) -> None:
        """Download what is not here. Raises Missing when it cannot be had."""
        file = Path(self.path).expanduser()
        if file.suffix in SINGLE_FILES and file.is_file():
            raise refuse_single_file(file)
        hub.fetch(self.path, self.revision, self.variant)
        for lora in chosen_loras(self.lora, self.lora_scale):
            hub.fetch_lora(lora)

    def base_hash(self) -> str:
        """Content of the networks, tokenizers, configurations, schedule and adapters, and the
        options that decide answers."""
        family = self.kind
        self._check()
        networks = ("transformer", "vae", *family.encoders)
        texts = {part: contents(self._text_files(part)) for part in family.tokenizers}
        return hash_key(
            {
                "pipeline": family.pipeline,
                "weights": contents(file for part in networks for file in self._weights(part)),
                "configs": {part: self._relevant(part) for part in networks},
                "tokenizers": texts,
                "schedule": self._schedule_identity(),
                "guidance": self.guidance,
                "tokens": self._tokens(),
                "lora": lora_key(chosen_loras(self.lora, self.lora_scale)),
            }
        )

    def encoder_hash(self) -> str:
        """Content of the autoencoder and its units, and how images go through it."""
        identity = {
            "vae": contents(self._weights("vae")),
            "config": self._relevant("vae"),
            "resolution": self.resolution,
        }
        return hash_key(identity | ({"tiling": True} if self.vae_tiling else {}))

    def timesteps(self) -> int:
        """Length of the training schedule; of flow matching, of the one that attacks speak of."""
        return FLOW_TIMESTEPS if self.kind.flow else schedule_steps(self._betas())

    def sigmas(self) -> Sequence[float]:
        """(T,) noise fraction b / (a + b) at every timestep.

        Raises:
            Missing: of a family on betas, which its directory tells.
        """
        from mia_bench.models.dit.families import FAMILIES
        from mia_bench.target.flow_schedule import equal_noise_sigmas

        family = FAMILIES.get(self.family or "") or self.kind
        alphas = None if family.flow else alphas_cumprod(self._betas())
        levels: list[float] = equal_noise_sigmas(alphas).tolist()
        return [max(level, self.sigma_floor) for level in levels] if family.flow else levels

    def unet_bytes(self) -> int:
        """Size of the transformer's weights on disk."""
        return sum(file.stat().st_size for file in self._weights("transformer"))

    def _relevant(self, part: str) -> dict[str, Any]:
        config = read_config(self.folder / part / "config.json")
        return {key: value for key, value in config.items() if key not in IRRELEVANT}

    def _text_files(self, tokenizer: str) -> list[Path]:
        return sorted(path for path in (self.folder / tokenizer).glob("*") if path.is_file())

    def _schedule_identity(self) -> dict[str, Any]:
        """What decides levels: of flow matching the floor, for sigma = t / 1000 is fixed, and what
        the model's own sampler does, which generated images depend on."""
        if not self.kind.flow:
            return dict(self._betas())
        config = {k: v for k, v in self._scheduler().items() if not k.startswith("_diffusers")}
        return {"sigma_floor": self.sigma_floor, "sampler": config}

    # --- checks --------------------------------------------------------------------------------

    def _check(self) -> None:
        """Everything that can be told wrong before weights are loaded."""
        family, index = self.kind, read_config(self.folder / "model_index.json")
        for part in family.encoders:
            if index.get(part, [None])[0] is None or not (self.folder / part).is_dir():
                raise MiaError(
                    f"{self.path} is a {family.pipeline} without its {part}: captions would be "
                    "embedded otherwise than in training. Fetch the complete directory, or copy "
                    f"{part} and its tokenizer from the model it was fine-tuned from."
                )
        self._check_guidance()
        refuse_eight_bits(self._weights("transformer"))
        if family.flow:
            from mia_bench.models.dit.scheduler import check_flow

            check_flow(self._scheduler(), family, self.path)
        else:
            self._betas()

    def _check_guidance(self) -> None:
        distilled = bool(self._config("transformer").get("guidance_embeds"))
        if distilled and self.guidance is None:
            raise MiaError(
                f"{self.path} was distilled with guidance (guidance_embeds in "
                "transformer/config.json), which is an input of its network, and model.guidance is "
                "null: use model.guidance=1, the value it is fine-tuned at."
            )
        if not distilled and self.guidance is not None:
            raise MiaError(
                f"{self.path} takes no guidance as an input (no guidance_embeds in "
                f"transformer/config.json): model.guidance={self.guidance:g} would be ignored. Use "
                "model.guidance=null."
            )

    def _config(self, part: str) -> dict[str, Any]:
        return read_config(self.folder / part / "config.json")

    def _scheduler(self) -> dict[str, Any]:
        return read_config(self.folder / "scheduler" / "scheduler_config.json")

    def _betas(self) -> dict[str, Any]:
        return read_schedule(self._scheduler(), self.path)

    def _tokens(self) -> int:
        return self.tokens or self.kind.tokens

    def _weights(self, part: str) -> list[Path]:
        return weights(self.folder, part, self.variant)

    def latent_side(self) -> int:
        """Cells per side of the latents. Raises MiaError as `build` does."""
        return self._latent_shape()[-1]

    # --- the target ----------------------------------------------------------------------------

    def load_unet(self, weights: Path | None = None, train: bool = False) -> nn.Module:
        """The base's transformer, or the one of `weights`: whole, or adapters on the base."""
        import diffusers

        from mia_bench.models.lora import has_lora, load_lora
        from mia_bench.models.lora_fusion import fuse

        dtype = self._torch_dtype("float32" if train else self.dtype)
        kind = getattr(diffusers, self.kind.transformer)
        if weights is not None and not has_lora(weights):
            network = load(kind, weights, torch_dtype=dtype)
        else:
            network = self._part(kind, "transformer", dtype)
            if self.lora:
                fuse(network, "transformer", self._adapters())
            if weights is not None:
                load_lora(network, weights)
        if self.attention is not None:
            network.set_attention_backend(self.attention)
        plain: nn.Module = network
        return plain

    def build(self, unet: nn.Module, seed: int, store: LatentStore | None = None) -> Target:
        from mia_bench.models.dit.adapters import PipelineText, UnitCodec
        from mia_bench.target import Target

        family = self.kind
        shape = self._latent_shape()
        betas = None if family.flow else self._betas()
        return Target(
            unet,
            UnitCodec(self._vae, family.units(self._config("vae"))),
            PipelineText(self._pipeline, family.embed, self._tokens(), self.offload_text),
            shape,
            self._flow(shape) if betas is None else alphas_cumprod(betas),
            "velocity" if betas is None else betas["prediction_type"],
            seed,
            None if self.chunk == "auto" else self.chunk,
            store,
            self._torch_dtype(self.dtype),
            family.call(self._config("transformer"), self.guidance),
        ).eval()

    def _flow(self, shape: tuple[int, ...]) -> FlowSchedule:
        from mia_bench.models.dit.scheduler import sampling_sigmas
        from mia_bench.target import FlowSchedule

        sampler = partial(sampling_sigmas, self._scheduler(), self.kind, shape)
        return FlowSchedule(
            self.sigma_floor, sampler=sampler, reversed_training=self.kind.reversed_training
        )

    def _latent_shape(self) -> tuple[int, int, int]:
        """(C, h, w). Raises MiaError where transformer and autoencoder do not go together."""
        family, units = self.kind, self.kind.units(self._config("vae"))
        takes = self._config("transformer").get("in_channels")
        expected = units.channels * (family.patch**2 if family.packed else 1)
        if takes is not None and takes != expected:
            raise MiaError(
                f"the transformer of {self.path} takes {takes} channels for latents of "
                f"{expected}: models that are given an image beside the text are not text-to-image "
                "targets."
            )
        multiple = units.shrink * family.patch
        if self.resolution % multiple:
            raise MiaError(f"model.resolution={self.resolution} must be a multiple of {multiple}.")
        side = self.resolution // units.shrink
        return units.channels, side, side

    def _vae(self) -> Any:
        """In float32 whatever the dtype: runs of every dtype share the latents."""
        import diffusers

        vae = self._part(getattr(diffusers, self.kind.vae), "vae", self._torch_dtype("float32"))
        if self.vae_slicing:
            vae.enable_slicing()
        if self.vae_tiling:
            vae.enable_tiling()
        return vae

    def _pipeline(self) -> Any:
        """The family's pipeline with text encoders and tokenizers alone."""
        import inspect

        import diffusers

        kind = getattr(diffusers, self.kind.pipeline)
        names = [name for name in inspect.signature(kind.__init__).parameters if name != "self"]
        parts = dict.fromkeys(names)
        for name in (*self.kind.encoders, *self.kind.tokenizers):
            parts[name] = self._text_part(name)
        return kind(**parts)

    def _text_part(self, part: str) -> Any:
        """An encoder or tokenizer by the class that model_index.json names; of transformers only,
        and the directory's code is never run."""
        import transformers

        from mia_bench.models.lora_fusion import fuse

        index = read_config(self.folder / "model_index.json")
        library, name = [*(index.get(part) or ()), None, None][:2]
        kind = getattr(transformers, str(name), None)
        if library != "transformers" or kind is None:
            raise MiaError(
                f"{self.path} names {library}.{name} as its {part}: a class of the installed "
                "transformers is needed."
            )
        if part.startswith("tokenizer"):
            return load(kind, self.folder / part)
        encoder = self._part(kind, part, self._torch_dtype(self.dtype))
        if self.lora:
            fuse(encoder, part, self._adapters())
        return encoder

    def _part(self, kind: Any, part: str, dtype: torch.dtype) -> Any:
        files = self._weights(part)
        variant = self.variant if f".{self.variant}" in files[0].name else None
        return load(kind, self.folder / part, variant=variant, torch_dtype=dtype, exact=True)

    def _adapters(self) -> list[tuple[Adapters, float]]:
        loras = chosen_loras(self.lora, self.lora_scale)
        return read_chosen(loras, ("transformer", *self.kind.encoders), self.kind.pipeline)

    def _torch_dtype(self, name: str) -> torch.dtype:
        import torch

        dtype: torch.dtype = getattr(torch, name)
        return dtype
