"""Entries of a leaderboard: scores of anybody, with a card that says what they are of.

An entry is a sealed folder of its scores, its card and the metrics that follow from them. Nothing
that a card claims is believed: metrics are computed from the scores, here when an entry is added
and again when a page is made of it. What papers publish is kept apart, as published.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import pandas as pd
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from mia_bench.evaluation.score_arrays import table_of_arrays
from mia_bench.evaluation.score_files.measuring import LARGE_DRAWS, LARGE_ROWS, resamples_of
from mia_bench.evaluation.score_files.reading import read_scores
from mia_bench.evaluation.score_table import COLUMNS, TableMetrics, score_table_metrics
from mia_bench.metrics.evaluation_rows import ALL_DRAWS
from mia_bench.metrics.registry import METRICS
from mia_bench.storage import layout
from mia_bench.storage.artifacts import get_or_build
from mia_bench.storage.files import MAX_YAML_BYTES, parse_yaml, read_json, write_json
from mia_bench.storage.hashing import hash_file, hash_key
from mia_bench.storage.index import folders_in, unverified
from mia_bench.storage.stored_files import read_frame, read_manifest
from mia_bench.utils.errors import MiaError

ENTRIES = "entries"
SCORES, CARD, MEASURED = layout.SCORES_FILE, "card.json", layout.METRICS_FILE
SEED = 0
Line = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=300)]
Share = Annotated[float, Field(ge=0, le=1)]


class CardPart(BaseModel):
    """Strict types, no entries but the named ones."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class PublishedFigures(CardPart):
    """What a paper reports for this attack and target: shown beside what is measured."""

    source: Line
    figures: dict[str, Share]


class Card(CardPart):
    """What scores are of. `split` says where the lists of members and non-members are published."""

    attack: Line
    target: Line
    data: Line
    split: Line
    access: Line = "not stated"
    submitter: Line = "not stated"
    paper: Line | None = None
    code: Line | None = None
    nfe: Annotated[float, Field(ge=0)] | None = None
    negate: bool = False
    """Scores are lower for members."""
    published: PublishedFigures | None = None


@dataclass(frozen=True)
class Entry:
    """A verified entry: its card, its metrics recomputed from its scores."""

    key: str
    card: Card
    metrics: Mapping[str, Any]


def read_card(path: Path) -> Card:
    """The card in a yaml file. Raises MiaError, naming the entry that is wrong."""
    if not path.is_file():
        raise MiaError(f"{path} is not a file.")
    if path.stat().st_size > MAX_YAML_BYTES:
        raise MiaError(f"{path} is larger than {MAX_YAML_BYTES >> 20} MiB.")
    try:
        return _card(parse_yaml(path.read_text(encoding="utf-8")), str(path))
    except (ValueError, OSError) as error:
        raise MiaError(f"cannot read {path}: {error}") from error


def _card(value: Mapping[str, Any], where: str) -> Card:
    try:
        card = Card.model_validate(value)
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(map(str, first["loc"])) or "the card"
        needed = ", ".join(n for n, f in Card.model_fields.items() if f.is_required())
        raise MiaError(f"{where}: {name}: {first['msg']}. A card needs {needed}.") from error
    known = [name for name, metric in METRICS.items() if metric.interval]
    unknown = set(card.published.figures) - set(known) if card.published else set()
    if unknown:
        raise MiaError(f"{where}: published figures are {', '.join(known)}, not {min(unknown)}.")
    return card


def add(folder: Path, scores: Sequence[Path], card_path: Path) -> Entry:
    """Measure one file of scores, or one of members and one of non-members, and keep the entry.

    The same scores under the same card are the same entry.

    Raises:
        MiaError: the card or a file cannot be read, or metrics do not follow from the scores.
    """
    card = read_card(card_path)
    if len(scores) == 1:
        table = read_scores(scores[0], card.negate)
    elif len(scores) == 2:
        members, nonmembers = scores
        table = table_of_arrays(members, nonmembers, card.negate)
    else:
        raise MiaError("give one file of scores, or one of members and one of non-members.")
    key = hash_key([card.model_dump(), [hash_file(path) for path in scores]])

    def build(place: Path) -> Mapping[str, Any]:
        draws = LARGE_DRAWS if len(table) > LARGE_ROWS else ALL_DRAWS
        resamples = resamples_of(len(table), None)
        measured = score_table_metrics(table, {}, SEED, resamples, draws=draws)
        table[list(COLUMNS)].to_parquet(place / SCORES, index=False)
        write_json(place / CARD, card.model_dump())
        write_json(place / MEASURED, measured.metrics)
        return {"kind": "leaderboard entry", "rows": len(table)}

    get_or_build(folder / ENTRIES / key, build)
    return _entry(folder / ENTRIES / key)


def read_entries(folder: Path) -> tuple[list[Entry], list[str]]:
    """Entries by target, data and falling AUC, and what is wrong with those that are not shown."""
    entries, problems = [], []
    for place in folders_in(folder / ENTRIES):
        if layout.is_being_built(place):
            continue
        try:
            entries.append(_entry(place))
        except MiaError as error:
            problems.append(f"{place.name}: {error}")
        except Exception as error:  # whatever a damaged file does to its reader
            problems.append(f"{place.name}: cannot be read ({type(error).__name__}: {error})")
    entries.sort(key=lambda e: (e.card.target, e.card.data, -e.metrics["auroc"]["value"]))
    return entries, problems


def _entry(place: Path) -> Entry:
    """An entry whose values follow from its scores; bounds are those that were drawn with it."""
    if (problem := unverified(place, read_manifest(place), SCORES, CARD, MEASURED)) is not None:
        raise MiaError(f"not shown: {problem}")
    card = _card(read_json(place / CARD), CARD)
    stored = read_json(place / MEASURED)
    measured = _remeasured(read_frame(place / SCORES), stored)
    if abs(measured.metrics["auroc"]["value"] - stored["auroc"]["value"]) > 1e-9:
        raise MiaError("not shown: its AUC does not follow from its scores")
    return Entry(place.name, card, measured.metrics)


def _remeasured(table: pd.DataFrame, stored: Mapping[str, Any]) -> TableMetrics:
    return score_table_metrics(table, {}, SEED, 1, stored)
