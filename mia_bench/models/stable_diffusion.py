"""Targets of the Stable Diffusion family: 1.x, 2.x and XL; bundled, from folders, files or the hub.

The families differ in their text stack alone; which one a directory holds is written in its
model_index.json. Epsilon or v prediction comes from its scheduler.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from mia_bench.models import hub
from mia_bench.models.identity import network, tokenizer
from mia_bench.models.readers.caption_tokens import whole_ids
from mia_bench.models.readers.chosen_loras import Scales, chosen_loras, lora_key, read_chosen
from mia_bench.models.readers.parts import Parts, unet_folder
from mia_bench.models.readers.pipeline_kinds import ENCODERS, check_unet, family_of, pipeline_name
from mia_bench.models.readers.single_file import (
    check_file,
    config_folder,
    is_single_file,
    marked_schedule,
)
from mia_bench.models.schedule import (
    alphas_cumprod,
    read_schedule,
    schedule_key,
    schedule_steps,
)
from mia_bench.models.weight_files import contents, load
from mia_bench.storage.hashing import hash_key
from mia_bench.utils.errors import MiaError, Missing

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    from mia_bench.target import LatentStore, Target, Text


DEFAULT_LATENT_SCALE = 0.18215  # where vae/config.json has none: Stable Diffusion 1's
SDXL_SCALE = 0.13025


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

    def fetch(self) -> None:
        """Download what is not here. Raises Missing when it cannot be had."""
        if not is_single_file(self.path):
            hub.fetch(self.path, self.revision, self.variant, self._check_index)
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
        return plain if plain._has_variant() else replace(plain, variant=None)

    def sized(self) -> StableDiffusion:
        """This model with its own resolution where none is given: the U-Net's sample size times
        what the autoencoder shrinks by.

        Raises:
            MiaError: the U-Net's configuration does not say one number.
        """
        if self.resolution is not None:
            return self
        side = self.parts.config("unet").get("sample_size")
        if not isinstance(side, int) or side < 1:
            raise MiaError(
                f"the U-Net of {self.path} has sample_size={side}, which says no resolution: give "
                "it, as in model.resolution=512."
            )
        return replace(self, resolution=side * self._shrink())

    @property
    def side(self) -> int:
        """The resolution, given or the model's own."""
        resolution = self.sized().resolution
        assert resolution is not None
        return resolution

    def latent_side(self) -> int:
        """Cells per side of the latents."""
        return self.side // self._shrink()

    # --- what it is -------------------------------------------------------------------------------

    def check(self) -> None:
        """Whether it can be built, from configurations and headers alone.

        Raises:
            Missing: the files are not here.
            MiaError: another kind of model, a schedule without meaning, parts that do not fit.
        """
        parts, family = self.parts, self._family()
        schedule = self._schedule()
        if parts.file is not None:
            check_file(parts.file, parts.folder, alphas_cumprod(schedule))
        if (parts.place("unet") / "config.json").is_file():
            channels = self._vae_config().get("latent_channels", 4)
            check_unet(parts.unet_config(), family, channels, self.unet or self.path)
        if self.resolution is not None and self.resolution % self._shrink():
            raise MiaError(
                f"model.resolution={self.resolution} must be a multiple of {self._shrink()}."
            )
        self._check_variant()

    def base_hash(self) -> str:
        """Content of the networks, the adapters on them, and whatever in the configurations, the
        tokenizers and the schedule is not as a key without it says."""
        parts = self.parts
        self._check_variant()
        weights = contents(
            file for part in ("unet", "vae", *self._encoders()) for file in parts.weights(part)
        )
        schedule, networks = schedule_key(self._schedule()), self._unusual()
        if self.embeddings is not None:
            networks["embeddings"] = self._embeddings_key()
        if not self._loras() and not schedule and not networks:
            return weights
        return hash_key(
            [weights, schedule, lora_key(self._loras()), *([networks] if networks else [])],
        )

    def encoder_hash(self) -> str:
        """Content of the autoencoder, and how images go through it."""
        weights = contents(self.parts.weights("vae"))
        identity = {"vae": weights, "resolution": self.side, "dtype": self.dtype}
        if (scale := self._scale()) != DEFAULT_LATENT_SCALE:
            identity["scale"] = scale
        if (config := network(self.parts.place("vae"), "vae")) is not None:
            identity["config"] = config
        if self.vae_tiling:
            identity["tiling"] = True
            if (tile := self._tile()) is not None:
                identity["tile"] = tile
        return hash_key(identity)

    def timesteps(self) -> int:
        """Length of the training schedule."""
        return schedule_steps(self._schedule())

    def sigmas(self) -> Sequence[float]:
        """(T,) noise fraction b / (a + b) at every timestep; Stable Diffusion 1's schedule where
        the model is not here yet, which all of its line share."""
        from mia_bench.target.flow_schedule import equal_noise_sigmas

        try:
            alphas = alphas_cumprod(self._schedule())
        except Missing:
            alphas = None
        levels: list[float] = equal_noise_sigmas(alphas).tolist()
        return levels

    def caption_tokens(self, captions: Sequence[str]) -> tuple[list[tuple[int, ...]], int]:
        """(token ids of each caption, whole, and how many the text encoder reads of them)."""
        part = self._encoders()[0]
        config = self.parts.config(part)
        folder = self.parts.place(part.replace("text_encoder", "tokenizer"))
        settings = self.parts.config(folder.name, "tokenizer_config.json")
        most = [config.get("max_position_embeddings", 77), settings.get("model_max_length", 77)]
        return whole_ids(folder, captions), min(most)

    def learned_words(self) -> list[str]:
        """The words of model.embeddings, in its order."""
        if self.embeddings is None:
            return []
        return [word for word, _ in self._embeddings_key()]

    def unet_bytes(self) -> int:
        """Size of the U-Net's weights on disk."""
        return sum(file.stat().st_size for file in self.parts.weights("unet"))

    def _family(self) -> str:
        return self._check_index(self.parts.index())

    def _check_index(self, index: dict[str, Any]) -> str:
        """The family that a model_index.json names, where it is the one that is wanted."""
        family = family_of(index, self.path)
        if self.family not in (None, pipeline_name(family)):
            raise MiaError(
                f"{self.path} is a {index['_class_name']}, not a {self.family}: use model=sdxl for "
                "StableDiffusionXLPipeline, model=sd15 for StableDiffusionPipeline, or "
                "model=diffusers, whose resolution and recipe you give yourself."
            )
        return family

    def _encoders(self) -> tuple[str, ...]:
        return ENCODERS[self._family()]

    def _schedule(self) -> dict[str, Any]:
        config, parts = self.parts.config("scheduler", "scheduler_config.json"), self.parts
        if parts.file is not None:
            config = marked_schedule(parts.file, config)
        return read_schedule(config, self.path)

    def _unusual(self) -> dict[str, Any]:
        """What decides answers and is not as in the first networks: by part."""
        encoders, parts = self._encoders(), self.parts
        read = {part: network(parts.place(part), part) for part in ("unet", *encoders)}
        for encoder in encoders:
            part = encoder.replace("text_encoder", "tokenizer")
            read[part] = tokenizer(parts.folder, part, encoder)
        if len(encoders) == 2 and not self._zero_null():
            read["force_zeros_for_empty_prompt"] = {}
        return {part: config for part, config in read.items() if config is not None}

    def _has_variant(self) -> bool:
        """Whether any part has weights of the variant. Absent models are not asked."""
        if self.variant is None or not self.parts_are_here():
            return True
        return self.parts.has_variant(("unet", "vae", *self._encoders()))

    def parts_are_here(self) -> bool:
        try:
            return bool(self.parts.index())
        except MiaError:
            return False

    def _check_variant(self) -> None:
        self.parts.check_variant(("unet", "vae", *self._encoders()), self.path)

    def _zero_null(self) -> bool:
        return bool(self.parts.index().get("force_zeros_for_empty_prompt", True))

    def _vae_config(self) -> dict[str, Any]:
        config = self.parts.config("vae")
        if config.get("latents_mean") is not None or config.get("shift_factor"):
            raise MiaError(f"the autoencoder of {self.path} shifts its latents, which is not read.")
        return config

    def _shrink(self) -> int:
        """Pixels per latent cell, along a side."""
        return int(2 ** (len(self._vae_config()["block_out_channels"]) - 1))

    def _scale(self) -> float:
        return float(self._vae_config().get("scaling_factor", DEFAULT_LATENT_SCALE))

    def _tile(self) -> int | None:
        """The sample size that tiles are cut from, where it is not that of the first models."""
        config = self._vae_config()
        usual = 1024 if self._scale() == SDXL_SCALE else 512
        size = config.get("sample_size", 32 if "down_block_types" in config else usual)
        return None if size == usual else size

    def _loras(self) -> Scales:
        return chosen_loras(self.lora, self.lora_scale)

    def _embeddings_key(self) -> list[list[str]]:
        """Content of the learned words, and their names, which may be those of the files."""
        from mia_bench.models.readers.textual_inversion import embedding_files, read_word

        files, encoders = embedding_files(self.embeddings), self._encoders()
        return [[read_word(file, encoders).word, contents([file])] for file in files]

    # --- building it ------------------------------------------------------------------------------

    def load_unet(self, weights: Path | None = None, train: bool = False) -> nn.Module:
        """The base's U-Net, or the one of `weights`: a whole network, or adapters on the base."""
        from diffusers import UNet2DConditionModel

        from mia_bench.models.lora import has_lora, load_lora
        from mia_bench.models.lora_fusion import fuse

        dtype = self._dtype("float32" if train else self.dtype)
        if weights is not None and not has_lora(weights):
            unet = load(UNet2DConditionModel, weights, torch_dtype=dtype)
        else:
            unet = self.parts.load(UNet2DConditionModel, "unet", dtype)
            if self._loras():
                fuse(unet, "unet", read_chosen(self._loras(), ("unet", *self._encoders())))
            if weights is not None:
                load_lora(unet, weights)
        if unet.config.in_channels > self._vae_config()["latent_channels"]:
            from mia_bench.models.readers.inpainting import mask_everything

            mask_everything(unet, self._blank())
        if self.attention_slicing:
            unet.set_attention_slice("max")
        plain: nn.Module = unet.to(memory_format=_channels_last())
        return plain

    def build(self, unet: nn.Module, seed: int, store: LatentStore | None = None) -> Target:
        from mia_bench.target import Target

        schedule = self._schedule()
        side, shrink = self.side, self._shrink()
        check_unet(self.parts.unet_config(), self._family(), self._channels(), self.path)
        if side % shrink:
            raise MiaError(f"model.resolution={side} must be a multiple of {shrink}.")
        return Target(
            unet,
            self._codec(),
            self._text(),
            (self._channels(), side // shrink, side // shrink),
            alphas_cumprod(schedule),
            schedule["prediction_type"],
            seed,
            None if self.chunk == "auto" else self.chunk,
            store,
            self._dtype(self.dtype),
        ).eval()

    def _channels(self) -> int:
        return int(self._vae_config()["latent_channels"])

    def _codec(self) -> Any:
        from mia_bench.models.encoders import KlCodec

        return KlCodec(self._vae, self._scale())

    def _blank(self) -> Tensor:
        """(1, C, h, w) latents of the image of zeros."""
        import torch

        blank: Tensor = self._codec().encode(torch.zeros(1, 3, self.side, self.side))
        return blank

    def _vae(self) -> Any:
        """In float32 whatever the dtype: SDXL's overflows in float16, and it is small."""
        from diffusers import AutoencoderKL

        vae = self.parts.load(AutoencoderKL, "vae", self._dtype("float32"))
        if self.vae_slicing:
            vae.enable_slicing()
        if self.vae_tiling:
            vae.enable_tiling()
        return vae

    def _text(self) -> Text:
        from mia_bench.models.encoders import ClipText
        from mia_bench.models.sdxl import TwoClipTexts

        encoders = self._encoders()
        if len(encoders) == 1:
            return ClipText(partial(self._clip, encoders[0]))
        return TwoClipTexts(lambda: [self._clip(e) for e in encoders], self.side, self._zero_null())

    def _clip(self, part: str) -> tuple[Any, Any]:
        from transformers import CLIPTextModel, CLIPTextModelWithProjection

        from mia_bench.models.lora_fusion import fuse
        from mia_bench.models.readers.textual_inversion import embedding_files, read_word, teach

        kind = CLIPTextModelWithProjection if part == "text_encoder_2" else CLIPTextModel
        parts, encoders = self.parts, self._encoders()
        encoder = parts.load(kind, part, self._dtype(self.dtype))
        if self._loras():
            fuse(encoder, part, read_chosen(self._loras(), ("unet", *encoders)))
        words = [read_word(file, encoders) for file in embedding_files(self.embeddings)]
        return encoder, teach(encoder, parts.tokenizer(part), part, words)

    def _dtype(self, name: str) -> torch.dtype:
        import torch

        dtype = getattr(torch, name, None)
        if not isinstance(dtype, torch.dtype) or not dtype.is_floating_point:
            raise MiaError(f"model.dtype={name}: use float32, float16 or bfloat16")
        return dtype


def _channels_last() -> torch.memory_format:
    import torch

    return torch.channels_last
