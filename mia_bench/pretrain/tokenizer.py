"""CLIP's tokenizer, from the vocabulary that ships inside open_clip: no hub needed."""

from __future__ import annotations

import gzip
import json
import tempfile
from pathlib import Path

import open_clip
from transformers import CLIPTokenizer

MERGES = 49152 - 256 - 2


def build_tokenizer(max_length: int) -> CLIPTokenizer:
    """A transformers CLIPTokenizer with open_clip's ids and `max_length` tokens."""
    source = Path(open_clip.__file__).parent / "bpe_simple_vocab_16e6.txt.gz"
    lines = gzip.decompress(source.read_bytes()).decode("utf-8").split("\n")
    merges = lines[1 : MERGES + 1]
    alphabet = list(_byte_characters())
    words = alphabet + [c + "</w>" for c in alphabet] + ["".join(m.split()) for m in merges]
    words += ["<|startoftext|>", "<|endoftext|>"]
    with tempfile.TemporaryDirectory() as folder:
        vocabulary, merge_file = Path(folder) / "vocab.json", Path(folder) / "merges.txt"
        vocabulary.write_text(json.dumps({word: i for i, word in enumerate(words)}))
        merge_file.write_text("#version: 0.2\n" + "\n".join(merges) + "\n")
        tokenizer: CLIPTokenizer = CLIPTokenizer(
            str(vocabulary), str(merge_file), model_max_length=max_length, pad_token="<|endoftext|>"
        )
        return tokenizer


def _byte_characters() -> list[str]:
    """GPT-2's printable stand-in for each byte, in CLIP's vocabulary order."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    rest = [b for b in range(256) if b not in printable]
    return [chr(b) for b in printable] + [chr(256 + i) for i in range(len(rest))]
