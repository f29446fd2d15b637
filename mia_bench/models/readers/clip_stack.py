"""The text encoders of the Stable Diffusion family, with LoRAs and learned words on them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from mia_bench.models.readers.chosen_loras import Scales, read_chosen
from mia_bench.models.readers.textual_inversion import embedding_files, nested, read_word, teach
from mia_bench.models.readers.unet_pipeline import UnetPipeline
from mia_bench.models.weight_files import contents

if TYPE_CHECKING:
    import torch

    from mia_bench.target import Text


@dataclass(frozen=True)
class ClipStack:
    """Args: `loras` with their scales; `embeddings`: files of learned words."""

    pipeline: UnetPipeline
    loras: Scales
    embeddings: str | tuple[str, ...] | None

    def text(self, side: int, dtype: torch.dtype) -> Text:
        """One encoder, or SDXL's two with the size conditions of `side` pixels."""
        from mia_bench.models.encoders import ClipText
        from mia_bench.models.sdxl import TwoClipTexts

        encoders = self.pipeline.encoders
        if len(encoders) == 1:
            return ClipText(partial(self.encoder, encoders[0], dtype))
        pairs = partial(self._encoders, dtype)
        return TwoClipTexts(pairs, side, self.pipeline.zero_null())

    def encoder(self, part: str, dtype: torch.dtype) -> tuple[Any, Any]:
        """(text encoder, its tokenizer) of a part."""
        from transformers import CLIPTextModel, CLIPTextModelWithProjection

        from mia_bench.models.lora.fusion import fuse

        kind = CLIPTextModelWithProjection if part == "text_encoder_2" else CLIPTextModel
        parts, encoders = self.pipeline.parts, self.pipeline.encoders
        encoder = parts.load(kind, part, dtype)
        if self.loras:
            fuse(encoder, part, read_chosen(self.loras, ("unet", *encoders)))
        words = [read_word(file, encoders) for file in embedding_files(self.embeddings)]
        return encoder, teach(encoder, parts.tokenizer(part), part, words)

    def learned(self) -> list[str]:
        """The words of the files, in their order."""
        files, encoders = embedding_files(self.embeddings), self.pipeline.encoders
        return [read_word(file, encoders).word for file in files]

    def words(self) -> list[list[str]]:
        """[word, hash of its file]: names may be those of the files."""
        if self.embeddings is None:
            return []
        files, encoders = embedding_files(self.embeddings), self.pipeline.encoders
        words = [[read_word(file, encoders).word, contents([file])] for file in files]
        # before, one inside another was found first, and its vectors stood for a part of the other
        return [*words, ["longest first"]] if nested(word for word, _ in words) else words

    def _encoders(self, dtype: torch.dtype) -> list[tuple[Any, Any]]:
        return [self.encoder(part, dtype) for part in self.pipeline.encoders]
