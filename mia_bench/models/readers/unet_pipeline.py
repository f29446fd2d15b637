"""What the configurations of a model of the Stable Diffusion family say; no weight is read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from mia_bench.models.identity import network, tokenizer
from mia_bench.models.readers.caption_tokens import vocabulary, whole_ids
from mia_bench.models.readers.parts import Parts
from mia_bench.models.readers.pipeline_kinds import (
    ENCODERS,
    check_part_configs,
    check_tokenizer_configs,
    check_unet,
    family_of,
    pipeline_name,
    refuse_without_text,
)
from mia_bench.models.readers.single_file import marked_schedule
from mia_bench.models.schedule import read_schedule
from mia_bench.utils.errors import MiaError

TOKENIZER_CONFIG = "tokenizer_config.json"
DEFAULT_LATENT_SCALE = 0.18215  # where vae/config.json has none: Stable Diffusion 1's
SDXL_LATENT_SCALE = 0.13025


@dataclass(frozen=True)
class UnetPipeline:
    """The pipeline that `parts` are of.

    Args:
        path: as the user named the model, for messages.
        only: class of the pipeline that is wanted; None takes any of the family.
    """

    parts: Parts
    path: str
    only: str | None = None

    @property
    def family(self) -> str:
        """Raises MiaError where it is not read, or not the one that is wanted."""
        return checked_family(self.parts.index(), self.path, self.only)

    @property
    def encoders(self) -> tuple[str, ...]:
        """Names of the text encoders."""
        return ENCODERS[self.family]

    @property
    def networks(self) -> tuple[str, ...]:
        return ("unet", "vae", *self.encoders)

    def schedule(self) -> dict[str, Any]:
        """The scheduler's options, of a single file with the file's own marks."""
        config, parts = self.parts.config("scheduler", "scheduler_config.json"), self.parts
        if parts.file is not None:
            config = marked_schedule(parts.file, config)
        return read_schedule(config, self.path)

    def check_unet(self, named: str | None = None) -> None:
        """Whether the U-Net is asked with latents and text alone, of the width that the text
        encoders have; `named`: the U-Net's own path."""
        channels, unet = self.vae().get("latent_channels", 4), self.parts.unet_config()
        check_unet(unet, self.family, channels, named or self.path)
        width = unet.get("cross_attention_dim")
        texts = [self.parts.config(encoder).get("hidden_size") for encoder in self.encoders]
        known = [text for text in texts if isinstance(text, int)]
        plain = isinstance(width, int) and unet.get("encoder_hid_dim") is None
        if plain and known and len(known) == len(texts) and sum(known) != width:
            raise MiaError(
                f"the U-Net of {named or self.path} reads texts of {width} numbers a token, and "
                f"the text encoders of {self.path} write {sum(known)}: name the model that the U-"
                "Net was trained from."
            )

    def takes_guidance(self) -> bool:
        """Whether the U-Net is told a guidance scale, as latent consistency models are."""
        return self.parts.unet_config().get("time_cond_proj_dim") is not None

    def check_guidance(self, guidance: float | None) -> None:
        """Raises MiaError for a guidance scale that the U-Net does not take."""
        if guidance is not None and not self.takes_guidance():
            raise MiaError(
                f"model.guidance={guidance} is for latent consistency models, and the U-Net of "
                f"{self.path} takes no guidance scale: leave it out."
            )

    def check_texts(self) -> None:
        """Whether every text encoder is there with its tokenizer."""
        name = pipeline_name(self.family)
        for encoder in self.encoders:
            refuse_without_text(self.path, name, encoder, lambda p: self.parts.place(p).is_dir())

    def check_parts(self) -> None:
        """Whether what configurations say their networks are is what is built here."""
        there = [p for p in self.networks if (self.parts.place(p) / "config.json").is_file()]
        check_part_configs({part: self.parts.config(part) for part in there}, self.path)
        tokenizers = [encoder.replace("text_encoder", "tokenizer") for encoder in self.encoders]
        named = [p for p in tokenizers if (self.parts.place(p) / TOKENIZER_CONFIG).is_file()]
        configs = {part: self.parts.config(part, TOKENIZER_CONFIG) for part in named}
        check_tokenizer_configs(configs, self.path)

    def sample_side(self) -> int:
        """Pixels per side: the U-Net's sample size times what the autoencoder shrinks by.

        Raises:
            MiaError: the U-Net's configuration does not say one number.
        """
        side = self.parts.config("unet").get("sample_size")
        if not isinstance(side, int) or side < 1:
            raise MiaError(
                f"the U-Net of {self.path} has sample_size={side}, which says no resolution: give "
                "it, as in model.resolution=512."
            )
        return side * self.shrink()

    # --- the autoencoder --------------------------------------------------------------------------

    def vae(self) -> dict[str, Any]:
        """Its configuration. Raises MiaError for one that shifts its latents."""
        config = self.parts.config("vae")
        if config.get("latents_mean") is not None or config.get("shift_factor"):
            raise MiaError(f"the autoencoder of {self.path} shifts its latents, which is not read.")
        return config

    def shrink(self) -> int:
        """Pixels per latent cell, along a side."""
        return int(2 ** (len(self.vae()["block_out_channels"]) - 1))

    def latent_scale(self) -> float:
        return float(self.vae().get("scaling_factor", DEFAULT_LATENT_SCALE))

    def channels(self) -> int:
        """Of the latents."""
        return int(self.vae()["latent_channels"])

    def unusual_tile(self) -> int | None:
        """The sample size that tiles are cut from, where it is not that of the first models."""
        config = self.vae()
        usual = 1024 if self.latent_scale() == SDXL_LATENT_SCALE else 512
        size = config.get("sample_size", 32 if "down_block_types" in config else usual)
        return None if size == usual else size

    # --- the text ---------------------------------------------------------------------------------

    def zero_null(self) -> bool:
        """Whether the empty caption is embedded as zeros, in SDXL."""
        return bool(self.parts.index().get("force_zeros_for_empty_prompt", True))

    def caption_tokens(self, captions: Sequence[str]) -> tuple[list[tuple[int, ...]], int]:
        """(token ids of each caption, whole, and how many the text encoder reads of them)."""
        part = self.encoders[0]
        config = self.parts.config(part)
        folder = self.parts.place(part.replace("text_encoder", "tokenizer"))
        settings = self.parts.config(folder.name, TOKENIZER_CONFIG)
        most = [config.get("max_position_embeddings", 77), settings.get("model_max_length", 77)]
        return whole_ids(vocabulary(folder), captions), min(most)

    # --- identity ---------------------------------------------------------------------------------

    def unusual(self) -> dict[str, Any]:
        """What decides answers and is not as in the first networks: by part."""
        encoders, parts = self.encoders, self.parts
        read = {part: network(parts.place(part), part) for part in ("unet", *encoders)}
        for encoder in encoders:
            part = encoder.replace("text_encoder", "tokenizer")
            read[part] = tokenizer(parts.folder, part, encoder)
        if len(encoders) == 2 and not self.zero_null():
            read["force_zeros_for_empty_prompt"] = {}
        return {part: config for part, config in read.items() if config is not None}


def checked_family(index: dict[str, Any], path: str, only: str | None) -> str:
    """The family that a model_index.json names, where it is the one that is wanted."""
    family = family_of(index, path)
    if only not in (None, pipeline_name(family)):
        raise MiaError(
            f"{path} is a {index['_class_name']}, not a {only}: use model=sdxl for "
            "StableDiffusionXLPipeline, model=sd15 for StableDiffusionPipeline, or "
            "model=diffusers, whose resolution and recipe you give yourself."
        )
    return family
