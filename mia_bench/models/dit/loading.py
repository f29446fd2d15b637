"""Parts of a transformer's directory, loaded: the network, the autoencoder, the text stack."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import diffusers
import torch
import transformers
from torch import nn

from mia_bench.models.dit.directory import TransformerDirectory
from mia_bench.models.lora.fusion import check_places, fuse
from mia_bench.models.lora.matrices import Adapters
from mia_bench.models.lora.training import has_lora, load_lora
from mia_bench.models.readers.chosen_loras import Scales, lora_key, read_chosen
from mia_bench.models.readers.networks import in_parts
from mia_bench.models.weight_files import load
from mia_bench.utils.errors import MiaError

_fitting: set[tuple[TransformerDirectory, str]] = set()
"""Models and LoRAs, by content, of which every adapter has its layer."""


@dataclass(frozen=True)
class TransformerParts:
    """Args: `loras` with their scales, which are added to the weights."""

    directory: TransformerDirectory
    loras: Scales

    def transformer(
        self, dtype: torch.dtype, weights: Path | None = None, attention: str | None = None
    ) -> nn.Module:
        """The base's transformer, or the one of `weights`: whole, or adapters on the base.

        Args:
            attention: one of diffusers' attention backends; None is torch's.
        """
        kind = getattr(diffusers, self.directory.family.transformer)
        if weights is not None and not has_lora(weights):
            network = load(kind, weights, torch_dtype=dtype)
        else:
            network = self._part(kind, "transformer", dtype)
            if self.loras:
                fuse(network, "transformer", self._adapters())
            if weights is not None:
                load_lora(network, weights)
        if attention is not None:
            network.set_attention_backend(attention)
        plain: nn.Module = network
        return plain

    def check_loras(self) -> None:
        """Whether every adapter has its layer, by configurations alone: no weight is read. What
        was found right is remembered: a sweep plans many jobs on one model.

        Raises MiaError as `transformer` and `text_part` do.
        """
        key = self.directory, str(lora_key(self.loras))
        if key in _fitting:
            return
        adapters = [lora for lora, _ in self._adapters()]
        for part in {part for lora in adapters for part in lora.layers}:
            with torch.device("meta"):
                network = self._without_weights(part)
            check_places(network, part, adapters)
        _fitting.add(key)

    def _without_weights(self, part: str) -> nn.Module:
        directory = self.directory
        if part == "transformer":
            kind = getattr(diffusers, directory.family.transformer)
            network: nn.Module = kind.from_config(directory.config(part))
            return network
        encoder = self._class_of(part)
        text: nn.Module = encoder(encoder.config_class.from_dict(directory.config(part)))
        return text

    def vae(self, slicing: bool, tiling: bool) -> Any:
        """In float32 whatever the dtype: runs of every dtype share the latents."""
        kind = getattr(diffusers, self.directory.family.vae)
        return in_parts(self._part(kind, "vae", torch.float32), slicing, tiling)

    def pipeline(self, dtype: torch.dtype) -> Any:
        """The family's pipeline with text encoders and tokenizers alone."""
        family = self.directory.family
        kind = getattr(diffusers, family.pipeline)
        names = [name for name in inspect.signature(kind.__init__).parameters if name != "self"]
        parts = dict.fromkeys(names)
        for name in (*family.encoders, *family.tokenizers):
            parts[name] = self.text_part(name, dtype)
        return kind(**parts)

    def text_part(self, part: str, dtype: torch.dtype) -> Any:
        """An encoder or tokenizer by the class that model_index.json names; of transformers only,
        and the directory's code is never run."""
        kind = self._class_of(part)
        if part.startswith("tokenizer"):
            return load(kind, self.directory.place(part))
        encoder = self._part(kind, part, dtype)
        if self.loras:
            fuse(encoder, part, self._adapters())
        return encoder

    def _class_of(self, part: str) -> Any:
        directory = self.directory
        library, name = [*(directory.index().get(part) or ()), None, None][:2]
        kind = getattr(transformers, str(name), None)
        if library != "transformers" or kind is None:
            raise MiaError(
                f"{directory.path} names {library}.{name} as its {part}: a class of the installed "
                "transformers is needed."
            )
        return kind

    def _part(self, kind: Any, part: str, dtype: torch.dtype) -> Any:
        directory = self.directory
        files = directory.weights(part)
        variant = directory.variant if f".{directory.variant}" in files[0].name else None
        folder = directory.place(part)
        return load(kind, folder, variant=variant, torch_dtype=dtype, exact=True)

    def _adapters(self) -> list[tuple[Adapters, float]]:
        family = self.directory.family
        return read_chosen(self.loras, ("transformer", *family.encoders), family.pipeline)
