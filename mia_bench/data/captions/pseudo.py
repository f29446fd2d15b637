"""Pseudo-captions: what a captioner says of each picture, written once and read again.

For the attacker who has images and no captions (CLiD, section 4.3, uses BLIP). Any image-to-text
model of transformers that needs no prompt (BLIP, GIT); safetensors weights only, no code of others;
greedy decoding, so that the same weights give the same captions. `colours` names no model but the
rule of by_colour.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from mia_bench.config.hub_messages import hub_reason, refuse_full_disk
from mia_bench.data.captions import by_colour
from mia_bench.data.pictures.preprocessing import to_rgb
from mia_bench.data.source import Item
from mia_bench.storage import layout
from mia_bench.storage.artifacts import get_or_build, is_complete
from mia_bench.storage.hashing import hash_key, hash_once
from mia_bench.utils.errors import Missing
from mia_bench.utils.terminal import tracked
from mia_bench.utils.text import printable

VERSION = 1
RENDER_SIDE = 384  # at which drawings are rendered; captioners resize pictures themselves
BATCH = 16
MAX_TOKENS = 40
CAPTIONS_FILE = "captions.parquet"
BY_COLOUR = "colours"


def pseudo_captions(
    captioner: str,
    items: Sequence[Item],
    outputs: Path,
    plan_only: bool = False,
    key: str = "data.captions=pseudo:",
) -> dict[str, str]:
    """Captions by sample id from `captioner`, a folder, a hub id (id@revision pins a commit) or
    `colours`.

    `key` names the option in messages.

    With `plan_only`, captions by rule are made without being written.

    Raises Missing when the weights are not here and cannot be had, or when `plan_only` and the
    captions of a model are not written yet.
    """
    import pyarrow.parquet as pq

    weights, name = _weights(captioner, plan_only, key)
    rows = sorted(items, key=lambda item: item.sample_id)
    identity = [VERSION, name, MAX_TOKENS, RENDER_SIDE, [item.sample_id for item in rows]]
    folder = outputs / layout.CAPTIONS_FOLDER / hash_key(identity)
    if plan_only and not is_complete(folder):
        if weights is None:
            return dict(zip((r.sample_id for r in rows), describe(None, rows), strict=True))
        raise Missing(
            f"the captions of {captioner} for {len(rows):,} pictures are not written yet: a run"
            f" writes them to {folder} first, and keys depend on them."
        )
    get_or_build(folder, partial(_write, captioner, weights, rows))
    table = pq.read_table(folder / CAPTIONS_FILE).to_pydict()
    return dict(zip(table["sample_id"], table["caption"], strict=True))


def _write(
    captioner: str, weights: Path | None, items: Sequence[Item], tmp: Path
) -> dict[str, Any]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    captions = describe(weights, items)
    table = {"sample_id": [item.sample_id for item in items], "caption": captions}
    pq.write_table(pa.table(table), tmp / CAPTIONS_FILE)
    return {"captioner": captioner, "rows": len(items)}


def describe(weights: Path | None, items: Sequence[Item]) -> list[str]:
    """One caption per item by the captioner in the folder `weights`, by rule without one."""
    if weights is None:
        return by_colour.describe(items)
    import torch
    from transformers import AutoModelForImageTextToText, AutoProcessor

    processor = AutoProcessor.from_pretrained(weights, local_files_only=True)
    model = AutoModelForImageTextToText.from_pretrained(
        weights, local_files_only=True, use_safetensors=True
    ).eval()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model.to(device)
    captions: list[str] = []
    batches = [items[i : i + BATCH] for i in range(0, len(items), BATCH)]
    for batch in tracked(batches, "captions"):
        pictures = [to_rgb(item.load(RENDER_SIDE)) for item in batch]
        inputs = processor(images=pictures, return_tensors="pt").to(device)
        with torch.no_grad():
            tokens = model.generate(**inputs, max_new_tokens=MAX_TOKENS, do_sample=False)
        decoded = processor.batch_decode(tokens, skip_special_tokens=True)
        captions += [printable(text).strip() for text in decoded]
    return captions


def _weights(captioner: str, plan_only: bool, key: str) -> tuple[Path | None, str]:
    """(folder with the weights, what identifies them: their content, or the hub's commit); a rule
    has no weights.

    Raises Missing where they cannot be had, MiaError where the disk is full.
    """
    if captioner == BY_COLOUR:
        return None, f"{BY_COLOUR} {by_colour.VERSION}"
    folder = Path(captioner).expanduser()
    if folder.is_dir():
        files = sorted([*folder.glob("*.safetensors"), *folder.glob("*.json")])
        if not any(path.suffix == ".safetensors" for path in files):
            raise Missing(f"{key}{captioner}: no .safetensors file is in {folder}.")
        return folder, hash_key({path.name: hash_once(path) for path in files})
    from huggingface_hub import snapshot_download

    repo, _, revision = captioner.partition("@")
    wanted = ["*.safetensors", "*.json", "*.txt", "*.model"]
    for local in (True,) if plan_only else (True, False):
        try:
            snapshot = snapshot_download(
                repo, revision=revision or None, allow_patterns=wanted, local_files_only=local
            )
        except Exception as failure:  # the hub's errors differ between its versions
            refuse_full_disk(failure)
            error = failure
            continue
        return Path(snapshot), f"{repo}@{Path(snapshot).name}"
    raise Missing(
        f"{key}{captioner}: not a folder, and not available from the hub"
        f" ({hub_reason(error, repo, revision or None)}). Fetch it where there is a network with"
        f" hf download {repo}, or name a folder with config, processor and .safetensors weights."
        f" A file of captions works now, and so does {key}{BY_COLOUR}."
    ) from error
