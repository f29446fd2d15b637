"""Stage `flow`, exported: what the package ships of a FluxPipeline, at most 10 MB.

The CLIP text encoder and its tokenizer are the bundled model's, which model_index.json says under
SHARED instead of holding copies. Of the T5 encoder's vocabulary the tokens stay that pre-training
saw; every caption of the corpus is read as before, a word that is in none in smaller pieces.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import CLIPTokenizer, T5EncoderModel

from mia_bench.models.dit.directory import SHARED
from mia_bench.models.weight_files import load

SHARED_PARTS = {"text_encoder": "tiny", "tokenizer": "tiny"}
OWN_PARTS = ("transformer", "vae", "scheduler")
LETTERS = 512  # tokens of one byte, inside a word and at its end: no text lacks a token


def write_bundle(pipeline: Path, captions: Iterable[str], out: Path) -> None:
    """Args: `pipeline`: a FluxPipeline's directory; `captions` that it was trained on."""
    out.mkdir(parents=True, exist_ok=True)
    for part in OWN_PARTS:
        shutil.copytree(pipeline / part, out / part, dirs_exist_ok=True)
    tokenizer = load(CLIPTokenizer, pipeline / "tokenizer_2")
    kept = trim_tokenizer(tokenizer, captions, out / "tokenizer_2")
    encoder = load(T5EncoderModel, pipeline / "text_encoder_2", exact=True, dtype=torch.float16)
    keep_tokens(encoder, kept)
    encoder.save_pretrained(out / "text_encoder_2")
    for config in out.glob("*/config.json"):  # diffusers writes where it loaded a part from
        settings = json.loads(config.read_text(encoding="utf-8"))
        settings.pop("_name_or_path", None)
        config.write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")
    index = json.loads((pipeline / "model_index.json").read_text(encoding="utf-8"))
    text = json.dumps({**index, SHARED: SHARED_PARTS}, indent=2) + "\n"
    (out / "model_index.json").write_text(text, encoding="utf-8")
    size = sum(path.stat().st_size for path in out.rglob("*") if path.is_file())
    print(f"wrote {out} ({size / 1e6:.1f} MB, {len(kept)} tokens)")


def trim_tokenizer(tokenizer: Any, captions: Iterable[str], out: Path) -> list[int]:
    """Save `tokenizer` in `out` with the tokens of `captions` alone; their ids, in the new order.

    A token that byte-pair encoding puts together out of others keeps them too, so that the same
    merges lead to it: texts of kept tokens are read as before.
    """
    spec = json.loads(tokenizer.backend_tokenizer.to_str())
    vocabulary, merges = spec["model"]["vocab"], spec["model"]["merges"]
    names = {number: name for name, number in vocabulary.items()}
    parents = {"".join(pair): pair for pair in merges}
    used = {names[i] for ids in tokenizer(list(captions)).input_ids for i in ids}
    wanted = with_parts(used, parents)
    ends = [token["content"] for token in spec["added_tokens"]]
    pieces = [names[i] for i in sorted(names) if i < LETTERS or names[i] in wanted]
    order = [name for name in pieces if name not in ends] + ends
    ids = {name: i for i, name in enumerate(order)}
    spec["model"]["vocab"] = ids
    spec["model"]["merges"] = [pair for pair in merges if "".join(pair) in ids]
    renumber(spec, ids)
    with tempfile.TemporaryDirectory() as folder:
        tokenizer.save_pretrained(folder)
        shutil.copytree(folder, out, dirs_exist_ok=True)
    text = json.dumps(spec, ensure_ascii=False, separators=(",", ":"))
    (out / "tokenizer.json").write_text(text, encoding="utf-8")
    return [vocabulary[name] for name in order]


def with_parts(tokens: Iterable[str], parents: Mapping[str, Sequence[str]]) -> set[str]:
    """`tokens` and everything that they are merged from."""
    found: set[str] = set()
    waiting = list(tokens)
    while waiting:
        token = waiting.pop()
        if token not in found:
            found.add(token)
            waiting += parents.get(token, ())
    return found


def renumber(spec: dict[str, Any], ids: Mapping[str, int]) -> None:
    """Ids of the tokens at a text's ends and behind it."""
    for token in spec["added_tokens"]:
        token["id"] = ids[token["content"]]
    for end in ("sep", "cls"):
        name = spec["post_processor"][end][0]
        spec["post_processor"][end] = [name, ids[name]]
    if spec["padding"] is not None:
        spec["padding"]["pad_id"] = ids[spec["padding"]["pad_token"]]


def keep_tokens(encoder: T5EncoderModel, kept: Sequence[int]) -> None:
    """Cut the embedding to the rows `kept`, in their order."""
    rows = encoder.get_input_embeddings().weight.detach()[list(kept)].clone()
    encoder.resize_token_embeddings(len(kept), mean_resizing=False)
    encoder.get_input_embeddings().weight.data.copy_(rows)
    encoder.config.vocab_size = len(kept)
    encoder.config.pad_token_id = len(kept) - 1
