"""Tokenizers, and captions as token ids without a text encoder: what is cut off, what is alike."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from mia_bench.models.weight_files import load, read_config
from mia_bench.storage.hashing import hash_file

# of CLIP, which all models in a single file have
VOCABULARY = Path(__file__).parents[2] / "assets" / "tiny" / "tokenizer"
WORD_FILES = ("tokenizer.json", "vocab.json")  # either holds a tokenizer's words
REMEMBERED_TOKENIZERS = 2  # of SDXL's two encoders; 30 MB each


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


def load_tokenizer(folder: Path) -> Any:
    """A CLIP tokenizer; where the folder has settings alone, with the vocabulary of CLIP's.

    Models of a run have the same words, and reading them takes a third of a second: folders of
    equal bytes share one tokenizer, to which nobody may add words (`copy.deepcopy` gives another).
    """
    there = sorted(folder.iterdir()) if folder.is_dir() else []
    files = [path for path in there if path.is_file()]
    return _tokenizer(folder, tuple((path.name, hash_file(path)) for path in files))


@lru_cache(maxsize=REMEMBERED_TOKENIZERS)
def _tokenizer(folder: Path, files: tuple[tuple[str, str], ...]) -> Any:
    """The tokenizer of a folder whose `files`, by name and hash, are these."""
    from transformers import CLIPTokenizer

    if {*WORD_FILES} & dict(files).keys():
        return load(CLIPTokenizer, folder)
    settings = read_config(folder / "tokenizer_config.json")
    chosen = {key: settings[key] for key in ("model_max_length", "pad_token") if key in settings}
    return load(CLIPTokenizer, VOCABULARY, **chosen)


def vocabulary(folder: Path) -> Path:
    """The folder with a tokenizer's words: its own, or CLIP's where it has settings alone."""
    own = any((folder / name).is_file() for name in WORD_FILES)
    return folder if own else VOCABULARY
