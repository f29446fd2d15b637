"""features.py: what is written is read back, and what cannot be read says so."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from mia_bench.storage.feature_table import Table, read_note, read_table, write_table
from mia_bench.utils.errors import MiaError


def table(n: int = 5) -> Table:
    rng = np.random.default_rng(0)
    ids = tuple(f"openmoji:{i:012x}" for i in range(n))
    shapes = {"loss": (5, 3), "norm": (), "map": (4, 8, 8), "one": (1,)}
    features = {name: rng.normal(size=(n, *shape)) for name, shape in shapes.items()}
    return Table(ids, {name: values.astype(np.float32) for name, values in features.items()})


def test_round_trip_keeps_ids_names_shapes_and_bits(tmp_path: Path) -> None:
    path, written = tmp_path / "features.parquet", table()
    write_table(path, written)
    found = read_table(path)
    assert found.sample_id == written.sample_id
    assert list(found.features) == list(written.features)
    for name, values in written.features.items():
        assert found.features[name].dtype == np.float32
        assert found.features[name].shape == values.shape
        np.testing.assert_array_equal(found.features[name], values)
    assert [p.name for p in tmp_path.iterdir()] == ["features.parquet"]


def test_a_single_row_keeps_its_shape(tmp_path: Path) -> None:
    write_table(tmp_path / "f.parquet", table(1))
    assert read_table(tmp_path / "f.parquet").features["map"].shape == (1, 4, 8, 8)


def test_nan_and_double_precision(tmp_path: Path) -> None:
    values = np.array([[1 / 3, np.nan], [np.inf, -0.0]])
    write_table(tmp_path / "f.parquet", Table(("a", "b"), {"x": values}))
    found = read_table(tmp_path / "f.parquet").features["x"]
    np.testing.assert_array_equal(found, values.astype(np.float32))


def test_views_of_other_arrays_are_written_as_they_look(tmp_path: Path) -> None:
    values = np.arange(24, dtype=np.float32).reshape(4, 6)
    for name, view in (("t", values.T), ("s", values[::2, ::-1])):
        ids = tuple(str(i) for i in range(len(view)))
        write_table(tmp_path / f"{name}.parquet", Table(ids, {"x": view}))
        np.testing.assert_array_equal(read_table(tmp_path / f"{name}.parquet").features["x"], view)


def test_other_readers_see_columns_of_lists(tmp_path: Path) -> None:
    write_table(tmp_path / "f.parquet", table())
    arrow = pq.read_table(tmp_path / "f.parquet")
    assert arrow.column_names == ["sample_id", "loss", "norm", "map", "one"]
    assert len(arrow["loss"][0].as_py()) == 15
    expected = table().features["loss"][0].ravel()
    assert arrow["loss"][0].as_py() == pytest.approx(expected.tolist(), abs=0)


def test_take_and_select() -> None:
    full = table()
    part = full.take([3, 0, 3])
    assert part.sample_id == tuple(full.sample_id[i] for i in (3, 0, 3))
    np.testing.assert_array_equal(part.features["loss"], full.features["loss"][[3, 0, 3]])
    found = full.select((full.sample_id[4], full.sample_id[1]))
    np.testing.assert_array_equal(found.features["norm"], full.features["norm"][[4, 1]])
    with pytest.raises(KeyError):
        full.select(("nobody",))
    assert full.take(np.array([], dtype=np.intp)).sample_id == ()


@pytest.mark.parametrize("keep", [0, 3, 100, -1])
def test_a_truncated_file_is_named_with_what_to_do(keep: int, tmp_path: Path) -> None:
    path = tmp_path / "features.parquet"
    write_table(path, table())
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(MiaError, match=r"cannot read .*features.parquet.*\n*.*Delete its folder"):
        read_table(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(MiaError, match=r"cannot read .*absent\.parquet"):
        read_table(tmp_path / "absent.parquet")


def test_a_failed_write_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "features.parquet"
    write_table(path, table())
    before = path.read_bytes()

    def full_disk(_: object, where: Path) -> None:
        Path(where).write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("mia_bench.storage.feature_table.pq.write_table", full_disk)
    with pytest.raises(OSError, match="No space left"):
        write_table(path, table(9))
    assert path.read_bytes() == before


def test_flipped_bytes_are_found_wherever_they_are(tmp_path: Path) -> None:
    path, expected = tmp_path / "shard.parquet", table()
    write_table(path, expected, {"cost": {"rows": 5}})
    whole, found = path.read_bytes(), 0
    for at in np.random.default_rng(0).integers(len(whole), size=150):
        data = bytearray(whole)
        data[at] ^= 16
        path.write_bytes(data)
        try:
            seen = read_table(path)
        except MiaError:
            found += 1
            continue
        assert seen.sample_id == expected.sample_id
        assert read_note(path) == {"cost": {"rows": 5}}
        for name, values in expected.features.items():
            np.testing.assert_array_equal(seen.features[name], values)
    assert found > 100
