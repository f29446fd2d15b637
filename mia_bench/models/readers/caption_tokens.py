"""Captions as token ids, without loading a text encoder: what is cut off, and what is alike."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol, runtime_checkable


@runtime_checkable
class CutsCaptions(Protocol):
    """A model that can say how many tokens captions have, and how many of them it reads."""

    def caption_tokens(self, captions: Sequence[str]) -> tuple[list[tuple[int, ...]], int]:
        """(token ids of each caption, whole, and how many the text encoder reads of them)."""


@runtime_checkable
class HasLearnedWords(Protocol):
    """A model that may have learned words, which change nothing but captions that hold them."""

    def learned_words(self) -> list[str]:
        """The words of model.embeddings."""


def whole_ids(folder: Path, captions: Sequence[str]) -> list[tuple[int, ...]]:
    """Token ids of captions by the tokenizer in `folder`, start and end included, none cut off."""
    if (folder / "tokenizer.json").is_file():  # read without transformers, which takes seconds
        from tokenizers import Tokenizer

        tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        tokenizer.no_truncation()
        tokenizer.no_padding()
        return [tuple(encoded.ids) for encoded in tokenizer.encode_batch(list(captions))]
    from transformers import CLIPTokenizer

    old = CLIPTokenizer.from_pretrained(folder, local_files_only=True)
    ids = old(list(captions), truncation=False, verbose=False).input_ids
    return [tuple(row) for row in ids]
