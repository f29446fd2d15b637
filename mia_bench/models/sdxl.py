"""The text stack of Stable Diffusion XL (Podell et al. 2023, arXiv 2307.01952)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from mia_bench.models.encoders import CAPTIONS_PER_CALL, Anchored, token_ids


class TwoClipTexts(Anchored):
    """Two CLIP encoders side by side, a pooled embedding, and the size conditions of the U-Net.

    Hidden states are the second to last of each encoder, concatenated; the pooled embedding is the
    second encoder's projection. The null condition is all zeros where the pipeline asks for it
    (`force_zeros_for_empty_prompt`), as the base model was trained with dropped captions. The size
    conditions are those of an image that was neither larger nor cropped: (side, side, 0, 0, side,
    side). An attacker does not know the original sizes.

    Args:
        load: reads [(text encoder, tokenizer), (text encoder with projection, tokenizer)].
        side: pixels per side.
        zero_null: whether "" is embedded as zeros.
    """

    def __init__(
        self, load: Callable[[], list[tuple[Any, Any]]], side: int, zero_null: bool
    ) -> None:
        super().__init__()
        self.load, self.side, self.zero_null = load, side, zero_null
        self.encoders: Any = None
        self.tokenizers: list[Any] = []

    @torch.no_grad()
    def embed(self, captions: Sequence[str]) -> tuple[Tensor, dict[str, Tensor]]:
        """B captions -> (B, tokens, width 1 + width 2), text_embeds (B, projection), time_ids."""
        if self.encoders is None:
            pairs = self.load()
            self.tokenizers = [tokenizer for _, tokenizer in pairs]
            self.encoders = torch.nn.ModuleList([self.place(encoder) for encoder, _ in pairs])
        parts = [
            self._embed(captions[i : i + CAPTIONS_PER_CALL])
            for i in range(0, len(captions), CAPTIONS_PER_CALL)
        ]
        hidden, pooled = (torch.cat(column) for column in zip(*parts, strict=True))
        if self.zero_null:
            has_text = torch.tensor([text != "" for text in captions], device=hidden.device)
            hidden, pooled = hidden * has_text.view(-1, 1, 1), pooled * has_text.view(-1, 1)
        sizes = [self.side, self.side, 0, 0, self.side, self.side]
        time_ids = torch.tensor([sizes] * len(captions), device=hidden.device)
        return hidden, {"text_embeds": pooled, "time_ids": time_ids.float()}

    def _embed(self, captions: Sequence[str]) -> tuple[Tensor, Tensor]:
        outputs = [
            encoder(token_ids(tokenizer, encoder, captions), output_hidden_states=True)
            for encoder, tokenizer in zip(self.encoders, self.tokenizers, strict=True)
        ]
        hidden = torch.cat([output.hidden_states[-2] for output in outputs], dim=-1)
        return hidden.float(), outputs[1][0].float()
