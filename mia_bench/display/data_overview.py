"""What is in a data set, as numbers and pages: captions, sizes, duplicates, roles, skips."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mia_bench.data.source import Item, Source
from mia_bench.data.split.manifest import Split
from mia_bench.data.split.near_duplicates import normalise_caption
from mia_bench.data.split.roles import Role
from mia_bench.display.pictures.contact_sheet import contact_sheet
from mia_bench.storage.files import write_json
from mia_bench.utils.terminal import tracked
from mia_bench.utils.text import caption_units, table_cell

MAX_SIZED_PICTURES = 400  # pictures whose size is looked at: each must be decoded
SHEET_PICTURES = 40  # pictures on a contact sheet
VECTOR_SIDE = 512  # at which drawings without a size of their own are rendered


def overview(source: Source, split: Split, items: Mapping[str, Item], seed: int) -> dict[str, Any]:
    """Everything the report says, as numbers; a picture's size is taken from a random sample."""
    rows = [items[sid] for sid in split.sample_id]
    words = [len(caption_units(item.caption)) for item in rows]
    groups = Counter(split.group)
    sample = draw(rows, MAX_SIZED_PICTURES, seed)
    sizes = [item.load(VECTOR_SIDE).size for item in tracked(sample, "sizes")]
    return {
        "name": split.source,
        "licence": source.licence,
        "split": split.content_hash,
        "rows": len(rows),
        "unused": split.unused,
        "roles": {str(role): split.role.count(role) for role in Role},
        "captions": {
            "words": _spread(words),
            "characters": _spread([len(item.caption) for item in rows]),
            "distinct": len({normalise_caption(item.caption) for item in rows}),
            "empty": sum(not item.caption.strip() for item in rows),
        },
        "pictures": {
            "sampled": len(sizes),
            "shorter_side": _spread([min(size) for size in sizes]),
            "longer_side": _spread([max(size) for size in sizes]),
        },
        "duplicates": {
            "exact": split.duplicates,
            "groups": len(groups),
            "rows_in_groups": sum(n for n in groups.values() if n > 1),
            "largest": max(groups.values(), default=0),
        },
        "skipped": dict(Counter(skip.reason for skip in split.skipped).most_common()),
        "bad_input": sum(skip.broken for skip in split.skipped),
        "note": split.note,
    }


def text(facts: Mapping[str, Any], split: Split) -> str:
    """The report for a terminal."""
    captions, pictures, copies = facts["captions"], facts["pictures"], facts["duplicates"]
    return "\n".join(
        (
            f"{facts['name']}: {facts['licence']}",
            split.summary(),
            f"  captions: {_said(captions['words'], 'words')}; {captions['distinct']:,} distinct of"
            f" {facts['rows']:,}" + (f", {captions['empty']:,} empty" * (captions["empty"] > 0)),
            f"  pictures: shorter side {_said(pictures['shorter_side'], 'px')}"
            f" ({pictures['sampled']:,} drawn at random)",
            f"  near-duplicates: {copies['rows_in_groups']:,} rows in groups of two or more",
        )
    )


def write_report(
    folder: Path, facts: Mapping[str, Any], split: Split, items: Mapping[str, Item], seed: int
) -> list[Path]:
    """overview.json, skipped.csv and one contact sheet per role with rows, in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "overview.json", facts)
    with (folder / "skipped.csv").open("w", newline="", encoding="utf-8") as handle:
        table = csv.writer(handle)
        table.writerow(("name", "reason", "bad_input"))
        table.writerows(
            (table_cell(s.name), table_cell(s.reason), int(s.broken)) for s in split.skipped
        )
    sheets = []
    for role in Role:
        rows = [items[row.sample_id] for row in split.table if row.role is role]
        if rows:
            shown = draw(rows, SHEET_PICTURES, seed)
            title = f"{facts['name']} | {role} | {len(shown)} of {len(rows):,} | {facts['licence']}"
            sheets.append(folder / f"{role}.png")
            contact_sheet(shown, title).save(sheets[-1])
    return sheets


def draw(items: Sequence[Item], most: int, seed: int) -> list[Item]:
    """At most `most` of `items`, drawn at random."""
    order = np.random.default_rng(seed).permutation(len(items))[:most]
    return [items[i] for i in order]


def _spread(values: Iterable[int]) -> dict[str, float]:
    counts = np.array(list(values), dtype=np.int64)
    if not len(counts):
        return {}
    low, middle, high = np.percentile(counts, (5, 50, 95))
    return {
        "min": int(counts.min()),
        "p5": float(low),
        "median": float(middle),
        "p95": float(high),
        "max": int(counts.max()),
    }


def _said(spread: Mapping[str, float], unit: str) -> str:
    if not spread:
        return "none"
    return (
        f"median {spread['median']:,.0f} {unit} (5 % below {spread['p5']:,.0f}, 5 % above"
        f" {spread['p95']:,.0f}, from {spread['min']:,} to {spread['max']:,})"
    )
