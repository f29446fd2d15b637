"""The most and the least exposed pictures, each with the one of the other set that is most like it.

Pictures come from others: they are decoded and encoded again, small, without anything else.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

from mia_bench.audit.findings import exposure
from mia_bench.audit.request import SHOWN
from mia_bench.audit.result import AuditResult
from mia_bench.audit.scores import COMBINED
from mia_bench.data.pictures.preprocessing import to_rgb
from mia_bench.data.source import Item, Listing
from mia_bench.data.split.near_duplicates import Thumbnails, thumbnails

THUMBNAIL_PIXELS = 160
RENDER_PIXELS = 256  # at which drawings are rendered
JPEG_QUALITY = 85


@dataclass(frozen=True)
class ShownPicture:
    """A picture on the page, with what the panel says of it and the one that is most like it."""

    name: str
    picture: str
    caption: str
    score: float
    percentile: float
    neighbour_name: str
    neighbour: str
    neighbour_percentile: float


def shown_pictures(result: AuditResult) -> tuple[list[ShownPicture], list[ShownPicture]]:
    """The most and the least exposed pictures of the first set, the most telling first."""
    rows = exposure(result.scores.table)
    count = min(SHOWN, max(1, len(rows) // 2))
    most, least = rows.head(count), rows.tail(count).iloc[::-1]
    ends = [most, least if len(rows) > 1 else least.head(0)]
    items = {item.sample_id: item for item in result.prepared.sets.items}
    second = result.scores.table[~result.scores.table.is_first]
    others = _Neighbours.of(second, items)
    shown = [[_shown(row, items, others) for row in end.to_dict("records")] for end in ends]
    return shown[0], shown[1]


@dataclass(frozen=True)
class _Neighbours:
    """The second set's pictures as 16 x 16 thumbnails (M, 768), and percentiles of their scores."""

    items: list[Item]
    small: Thumbnails
    percentile: Sequence[float]

    @classmethod
    def of(cls, second: pd.DataFrame, items: Mapping[str, Item]) -> _Neighbours:
        chosen = [items[sid] for sid in second.sample_id]
        scores = second[COMBINED].to_numpy()
        others = max(1, len(scores) - 1)
        below = np.searchsorted(np.sort(scores), scores, "left")
        return cls(chosen, thumbnails(Listing(tuple(chosen))), (100 * below / others).tolist())

    def nearest(self, item: Item) -> int:
        own = thumbnails(Listing((item,)))
        return int(np.square(self.small - own).sum(axis=1).argmin())


def _shown(row: Mapping[Any, Any], items: Mapping[str, Item], others: _Neighbours) -> ShownPicture:
    item = items[row["sample_id"]]
    nearest = others.nearest(item)
    neighbour = others.items[nearest]
    return ShownPicture(
        item.name,
        data_uri(item),
        item.caption,
        float(row[COMBINED]),
        float(row["percentile"]),
        neighbour.name,
        data_uri(neighbour),
        others.percentile[nearest],
    )


def data_uri(item: Item) -> str:
    """A small picture in the page: decoded, and encoded again as a JPEG without anything else."""
    return jpeg_uri(to_rgb(item.load(RENDER_PIXELS)))


def jpeg_uri(picture: Image.Image) -> str:
    picture.thumbnail((THUMBNAIL_PIXELS, THUMBNAIL_PIXELS), Image.Resampling.LANCZOS)
    encoded = io.BytesIO()
    picture.save(encoded, "JPEG", quality=JPEG_QUALITY)
    return "data:image/jpeg;base64," + base64.b64encode(encoded.getvalue()).decode()
