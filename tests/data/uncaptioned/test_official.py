"""Pictures in their official order: tables without pictures, and copies on both sides."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from miniature import table
from PIL import Image

from mia_bench.data.split.published import one_sided, published_rows
from mia_bench.data.uncaptioned.official import Picture, official_listing, table_pictures
from mia_bench.utils.errors import MiaError


def test_a_table_without_pictures_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MiaError, match=r"has the columns label: a column of pictures"):
        list(table_pictures("train", [table(tmp_path / "train.parquet", label=[1])]))
    pq.write_table(pa.table({"image": [{"bytes": None, "path": "a.png"}]}), tmp_path / "a.parquet")
    with pytest.raises(MiaError, match=r"row 0: the picture is not in the table"):
        list(table_pictures("test", [tmp_path / "a.parquet"]))


def pictures(*contents: str) -> list[Picture]:
    return [Picture(f"{i}", text.encode(), Image.new) for i, text in enumerate(contents)]


def test_a_copy_on_both_sides_is_nobodys(tmp_path: Path) -> None:
    made = official_listing("x", {"train": pictures("a", "b", "a", "c")}, None)
    np.savez(tmp_path / "split.npz", members=[0, 1], nonmembers=[2, 3])
    rows, both = one_sided(published_rows(tmp_path / "split.npz", made))
    assert [row["sample_id"] for row in rows] == [made.official[1], made.official[3]]
    assert both == 1


def test_a_position_with_two_roles_is_refused(tmp_path: Path) -> None:
    made = official_listing("x", {"train": pictures("a", "b")}, None)
    np.savez(tmp_path / "split.npz", members=[0, 1], nonmembers=[1])
    with pytest.raises(MiaError, match="gives position 1 two roles, target_member and target_non"):
        published_rows(tmp_path / "split.npz", made)


def test_without_an_official_order_names_decide(tmp_path: Path) -> None:
    made = official_listing("x", {"train": pictures("b", "a")}, None)
    turned = replace(made, official=tuple(reversed(made.official)))
    np.savez(tmp_path / "split.npz", members=[0], nonmembers=[1])
    for listing, first in ((turned, 1), (replace(made, official=()), 0)):
        rows = published_rows(tmp_path / "split.npz", listing)
        assert rows[0]["sample_id"] == made.items[first].sample_id
