"""Textual inversion (Gal et al. 2022, arXiv 2208.01618): words whose embeddings were learned.

A file holds one word, or its several vectors, as one of

    {"<cat-toy>": (n, width)}                 diffusers: the word is the name of the tensor
    {"emb_params": (n, width)}                Automatic1111: the word is the name of the file
    {"clip_l": (n, 768), "clip_g": (n, 1280)} of SDXL's two text encoders: likewise

Where a caption holds the word, the text encoder sees its vectors in their order. A caption without
it is embedded as before.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mia_bench.utils.errors import MiaError, Missing
from mia_bench.utils.serialization import is_pickle, refusal

XL_NAMES = {"clip_l": "text_encoder", "clip_g": "text_encoder_2"}


@dataclass(frozen=True)
class LearnedWord:
    """A word and its vectors (n, width) for one text encoder, or for each of two."""

    path: Path
    word: str
    vectors: Mapping[str, Tensor]


def embedding_files(names: str | Sequence[str] | None) -> list[Path]:
    """The files that model.embeddings names. Raises Missing for one that cannot be read."""
    listed = [names] if isinstance(names, str) else list(names or ())
    files = []
    for name in listed:
        path = Path(name).expanduser()
        if is_pickle(name):
            raise Missing(f"model.embeddings: {refusal(name)}")
        inside = sorted(path.glob("*.safetensors")) if path.is_dir() else [path]
        if len(inside) != 1 or not inside[0].is_file():
            raise Missing(
                f"model.embeddings={name} is neither a safetensors file nor a folder with one."
            )
        files += inside
    if len(set(files)) < len(files):
        raise MiaError("model.embeddings names a file twice: give it once.")
    return files


def read_word(path: Path, encoders: Sequence[str]) -> LearnedWord:
    """The word in a file, for a model with the text encoders `encoders`.

    Raises:
        MiaError: the file holds anything else, or vectors for other encoders.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        tensors = load_file(path)
    except (OSError, SafetensorError) as error:
        raise MiaError(f"cannot read the embedding {path}: {error}") from error
    word = path.stem
    if set(tensors) == set(XL_NAMES):
        vectors = {XL_NAMES[name]: tensor for name, tensor in tensors.items()}
    elif len(tensors) == 1:
        ((name, tensor),) = tensors.items()
        word, vectors = (path.stem if name == "emb_params" else name), {encoders[0]: tensor}
    else:
        raise MiaError(
            f"{path} holds {len(tensors)} tensors ({', '.join(sorted(tensors)[:4])}), and no "
            "learned word: one tensor named after the word, emb_params, or clip_l and clip_g."
        )
    if set(vectors) != set(encoders):
        raise MiaError(
            f"{path} has vectors for {', '.join(sorted(vectors))}, and this model has "
            f"{', '.join(encoders)}: it is an embedding of another family."
        )
    if not word.strip() or any(character.isspace() for character in word):
        raise MiaError(
            f"{path}: its word {word!r} is no single word; rename the tensor or the file."
        )
    return LearnedWord(path, word, {part: _matrix(path, v) for part, v in vectors.items()})


def _matrix(path: Path, vectors: Tensor) -> Tensor:
    rows = vectors.float().reshape(-1, vectors.shape[-1]) if vectors.dim() in (1, 2) else None
    if rows is None or not len(rows) or not bool(rows.isfinite().all()):
        raise MiaError(
            f"{path}: its vectors are {list(vectors.shape)} or not finite: no embedding."
        )
    return rows


@torch.no_grad()
def teach(encoder: Any, tokenizer: Any, part: str, words: Sequence[LearnedWord]) -> Any:
    """Append the words' vectors to the embeddings of `encoder`; the tokenizer that knows them.

    `tokenizer` itself learns nothing: models without these words share it.

    Raises:
        MiaError: vectors of another width, or a word that the tokenizer has already.
    """
    if not words:
        return tokenizer
    tokenizer = copy.deepcopy(tokenizer)
    width = encoder.get_input_embeddings().weight.shape[1]
    expansions = {}
    for learned in words:
        vectors = learned.vectors[part]
        if vectors.shape[1] != width:
            raise MiaError(
                f"{learned.path} has vectors of {vectors.shape[1]} numbers and the {part} takes "
                f"{width}: it is an embedding of another model."
            )
        names = [learned.word, *(f"{learned.word}_{i}" for i in range(1, len(vectors)))]
        first, vocabulary = len(tokenizer), tokenizer.get_vocab()
        if any(text in vocabulary for name in names for text in (name, f"{name}</w>")):
            raise MiaError(
                f"{learned.path}: the word {learned.word!r} is in the vocabulary already; it would "
                "change every caption that holds it. Rename the tensor or the file."
            )
        tokenizer.add_tokens(names)
        encoder.resize_token_embeddings(len(tokenizer), mean_resizing=False)
        encoder.get_input_embeddings().weight[first:] = vectors.to(encoder.dtype)
        expansions[learned.word] = " ".join(names)
    _end_at_the_end(encoder, tokenizer.eos_token_id)
    return TaughtTokenizer(tokenizer, expansions)


def _end_at_the_end(encoder: Any, eos: int) -> None:
    """Older configurations find a text's end as its highest id (eos_token_id 2), which a learned
    word would be."""
    for module in encoder.modules():
        holders: tuple[Any, ...] = (module, getattr(module, "config", None))
        for holder in holders:
            if getattr(holder, "eos_token_id", None) == 2:
                holder.eos_token_id = eos


class TaughtTokenizer:
    """A tokenizer in whose texts a learned word stands for all its vectors."""

    def __init__(self, tokenizer: Any, expansions: Mapping[str, str]) -> None:
        self.tokenizer, self.expansions = tokenizer, expansions
        self.model_max_length: int = tokenizer.model_max_length
        self.pad_token: str = tokenizer.pad_token

    def __call__(self, captions: Sequence[str], **options: Any) -> Any:
        return self.tokenizer([self.expanded(text) for text in captions], **options)

    def expanded(self, caption: str) -> str:
        """The caption with every learned word followed by the names of its further vectors."""
        # the longest first: of <toy> and <toy>2, a caption with the second holds no <toy>
        words = sorted(self.expansions, key=len, reverse=True)
        pattern = "|".join(map(re.escape, words))
        return re.sub(pattern, lambda found: self.expansions[found[0]], caption)


def nested(words: Iterable[str]) -> bool:
    """Whether one of the words holds another, so that it matters which is looked for first."""
    listed = list(words)
    return any(a != b and a in b for a in listed for b in listed)
