"""What the attacker knows of each picture's text: its own caption, nothing, a file, a captioner.

Models are trained on the data's own captions, or on those of a mitigation; `data.captions` only
changes what attacks ask with, as in the literature (CLiD, section 4.3: pseudo-captions for an
attacker who has the image alone). The captions used by the attacker are part of the key of every
feature table.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from mia_bench.data.readers.caption_fields import candidates
from mia_bench.data.source import Item, Listing
from mia_bench.data.split.manifest import MAX_EXAMPLES, Split
from mia_bench.data.split.published import read_table
from mia_bench.data.split.roles import Role
from mia_bench.utils.errors import MiaError


def with_attacker_captions(
    choice: str | None, listing: Listing, split: Split, outputs: Path, plan_only: bool = False
) -> dict[str, Item]:
    """The listing's items by sample id, with the captions that `choice` gives the attacker.

    Raises MiaError when a file does not give every scored row a caption; Missing when a captioner
    is not here, or has not written its captions yet and only a plan is wanted.
    """
    items = {item.sample_id: item for item in listing.items}
    kind, _, argument = (choice or "null").partition(":")
    scored = {row.sample_id for row in split.table if row.role is not Role.VALIDATION}
    if kind == "own":
        return items
    if kind == "null":
        captions = dict.fromkeys(scored, "")
    elif kind == "file":
        captions = from_file(Path(argument), scored)
    else:
        from mia_bench.data.captions.pseudo import pseudo_captions

        rows = [items[sid] for sid in sorted(scored)]
        captions = pseudo_captions(argument, rows, outputs, plan_only)
    return {sid: _with_caption(item, captions.get(sid)) for sid, item in items.items()}


def from_file(path: Path, wanted: set[str], key: str = "data.captions=file:") -> dict[str, str]:
    """Captions by sample id from a table (csv, tsv, json, jsonl, parquet) with sample_id and
    caption (or text); `key` names the option in messages.

    Raises MiaError when it cannot be read, or a row has none or several that differ.
    """
    path = path.expanduser()
    captions: dict[str, str] = {}
    twice = set()
    for row in read_table(path, key):
        sid = str(row.get("sample_id"))
        try:
            caption = candidates(row.get("caption", row.get("text")))[0]
        except ValueError:
            continue  # named below, where the row is needed
        if captions.setdefault(sid, caption) != caption:
            twice.add(sid)
    if twice:
        raise MiaError(
            f"{key}{path} has several captions for {len(twice):,} rows, for example {min(twice)}, "
            "and the attacker knows one of each: keep one row for each sample_id."
        )
    missing = sorted(wanted - captions.keys())
    if missing:
        raise MiaError(
            f"{key}{path} has no caption for {len(missing):,} of {len(wanted):,}"
            f" rows, for example {', '.join(missing[:MAX_EXAMPLES])}. It needs the columns"
            " sample_id and caption; mia-bench data ... export=split.json lists the ids."
        )
    return {sid: captions[sid] for sid in wanted}


def _with_caption(item: Item, caption: str | None) -> Item:
    if caption is None:
        return item
    return replace(item, caption=caption, trained_on=item.caption)
