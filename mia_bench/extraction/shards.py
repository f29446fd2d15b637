"""Shards of features, written by every process of a pass and merged into one table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from mia_bench.storage import layout
from mia_bench.storage.feature_table import Array, Table, read_note, read_table
from mia_bench.utils.errors import MiaError
from mia_bench.utils.terminal import echo

SIBLINGS_FIELD = "beside"  # of a shard's note: shards of all attacks on the same batch, by attack


@dataclass
class Cost:
    """Time and queries that an attack took for some rows."""

    seconds: float = 0.0
    rows: int = 0
    queries: Counter[str] = field(default_factory=Counter)

    def __add__(self, other: Cost) -> Cost:
        queries = self.queries + other.queries
        return Cost(self.seconds + other.seconds, self.rows + other.rows, queries)

    def to_json(self) -> dict[str, float]:
        per_row = max(1, self.rows)
        return {
            "rows": self.rows,
            "seconds": round(self.seconds, 3),
            "nfe_forward": round(self.queries["asked"] / per_row, 4),
            "nfe_paid": round(self.queries["forward"] / per_row, 4),
            "nfe_backward": round(self.queries["backward"] / per_row, 4),
            "text_embeddings": round(self.queries["embed"] / per_row, 4),
        }


def finished(attacks: Mapping[str, Path]) -> dict[str, set[str]]:
    """Sample ids that earlier, interrupted passes wrote, by attack.

    Unreadable shards are dropped. So are those of a batch that a kill left without the shards of
    other attacks of its pass: only the whole batch gives the same bits again, because attacks share
    queries, and a chunk of another size rounds differently.
    """
    stored = {name: _shards(folder) for name, folder in attacks.items()}
    torn = [
        attacks[name] / layout.SHARDS_FOLDER / shard
        for name, shards in stored.items()
        for shard, (_, siblings) in shards.items()
        if any(a in stored and sibling not in stored[a] for a, sibling in siblings.items())
    ]
    for path in torn:
        path.unlink(missing_ok=True)
    return {
        name: {
            sid
            for shard, (ids, _) in shards.items()
            if attacks[name] / layout.SHARDS_FOLDER / shard not in torn
            for sid in ids
        }
        for name, shards in stored.items()
    }


def _shards(folder: Path) -> dict[str, tuple[tuple[str, ...], Mapping[str, str]]]:
    """(sample ids, names of the batch's shards by attack) of every shard that can be read."""
    shards = {}
    for path in sorted((folder / layout.SHARDS_FOLDER).glob("*.parquet")):
        try:
            sample_id = read_table(path).sample_id  # which checks the whole file, its note included
            shards[path.name] = sample_id, read_note(path).get(SIBLINGS_FIELD, {})
        except MiaError as error:
            echo(f"extracted again: {str(error).partition('. ')[0]}", error=True)
            path.unlink(missing_ok=True)
    return shards


def merge(folder: Path, sample_id: Sequence[str]) -> tuple[Table, Cost]:
    """The shards of `folder` as one table in the order of `sample_id`, each id exactly once.

    Shards are read one after the other into their rows. The cost is that of all passes that wrote
    them.
    """
    place = {sid: row for row, sid in enumerate(sample_id)}
    stacked: dict[str, Array] = {}
    filled, written, cost = np.zeros(len(place), dtype=bool), 0, Cost()
    for path in sorted((folder / layout.SHARDS_FOLDER).glob("*.parquet")):
        table = read_table(path)
        wanted = [i for i, sid in enumerate(table.sample_id) if sid in place]
        rows = [place[table.sample_id[i]] for i in wanted]
        for name, values in table.features.items():
            if name not in stacked:
                stacked[name] = np.empty((len(place), *values.shape[1:]), values.dtype)
            stacked[name][rows] = values[wanted]
        filled[rows] = True
        written, cost = written + len(table.sample_id), cost + _cost(path)
    if written != len(place) or not filled.all():
        raise MiaError(
            f"{folder} holds {written} rows for {len(place)} samples ({(~filled).sum()} missing). "
            "Delete it and run again."
        )
    return Table(tuple(sample_id), stacked), cost


def _cost(path: Path) -> Cost:
    cost = read_note(path).get("cost", {})
    return Cost(cost.get("seconds", 0.0), cost.get("rows", 0), Counter(cost.get("queries", {})))
