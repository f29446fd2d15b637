"""Tables of features are told by the models that were queried and by their rows."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from mia_bench.storage import layout
from mia_bench.utils.errors import MiaError
from mia_bench.verification.stored_tables import (
    StoredTables,
    TableOwners,
    complexity_tables,
    sort_tables,
    table_name,
)
from mia_bench.verification.untrusted import NotHere

EVALUATED, OTHERS = ["a", "b"], ["c", "d"]
OWNERS = TableOwners("target", "shadow", compared=False)


@pytest.fixture
def table(tmp_path):
    """table(model, ids, step): a folder of features of these rows."""

    def write(model: str, ids: list[str], step: str = "300", name: str = "loss-0") -> Path:
        folder = tmp_path / layout.FEATURES_FOLDER / model / step / name
        folder.mkdir(parents=True)
        pd.DataFrame({"sample_id": ids}).to_parquet(folder / layout.FEATURES_FILE)
        return folder

    return write


def sort(folders: list[Path], owners: TableOwners = OWNERS) -> StoredTables:
    return sort_tables(folders, owners, lambda: set(EVALUATED))


def test_target_shadow_and_base(table):
    target, shadow = table("target", EVALUATED), table("shadow", OTHERS)
    base = table("base", EVALUATED, "base")
    both = table("base", OTHERS, "base", "loss-1")
    assert sort([shadow, base, target]) == StoredTables(target, shadow, base, None)
    assert sort([both, shadow, base, target]) == StoredTables(target, shadow, base, both)


def test_without_a_shadow_the_target_calibrates(table):
    target, base = table("target", EVALUATED), table("base", EVALUATED, "base")
    alone = TableOwners("target", None, compared=False)
    assert sort([target, base], alone) == StoredTables(target, target, base, None)
    compared = TableOwners("target", None, compared=True)
    assert sort([target, base], compared) == StoredTables(target, target, base, base)


def test_the_shadow_as_reference_has_tables_of_both_rows(table):
    target, shadow = table("target", EVALUATED), table("shadow", OTHERS)
    reference = table("shadow", EVALUATED, name="loss-1")
    other = table("target", OTHERS, name="loss-1")
    found = sort([target, shadow, reference, other])
    assert found == StoredTables(target, shadow, reference, other)


def test_tables_of_no_one_run_are_refused(table):
    target, shadow = table("target", EVALUATED), table("shadow", OTHERS)
    for folders in ([shadow], [target]):
        with pytest.raises(MiaError, match="are not those of one run"):
            sort(folders)
    (shadow / layout.FEATURES_FILE).write_bytes(b"no parquet")
    with pytest.raises(MiaError, match="cannot be read"):
        sort([target, shadow, table("target", OTHERS, name="loss-1")])
    gone = target.with_name("loss-9")
    with pytest.raises(NotHere, match="loss-9 is not here any more"):
        sort([target, gone])


def test_names_are_those_of_a_runs_key(table):
    target, base = table("target", EVALUATED), table("base", EVALUATED, "base")
    assert table_name(target) == ("target", 300, "loss-0")
    assert table_name(base) == ("base", None, "loss-0")
    assert StoredTables(target, target, base, None).named()[3] is None


def test_complexity_is_two_of_the_runs_tables(table, tmp_path):
    one, two = table("base", EVALUATED, "base"), table("base", OTHERS, "base", "loss-1")
    names = [str(folder.relative_to(tmp_path)) for folder in (one, two)]
    assert complexity_tables(tmp_path, names, [one, two]) == (one, two)
    for wrong, tables in ((names[:1], [one, two]), (names, [one])):
        with pytest.raises(MiaError, match="two of its features are expected"):
            complexity_tables(tmp_path, wrong, tables)
