"""Two arrays without ids, in every form they are published in; nothing is unpickled."""

from __future__ import annotations

import gzip
import json
import pickle

import numpy as np
import pandas as pd
import pytest

from mia_bench.evaluation import score_arrays
from mia_bench.evaluation.score_arrays import read_array, table_of_arrays
from mia_bench.utils.errors import MiaError

SCORES = np.array([0.5, -1.25, 3.0])


@pytest.fixture(params=["npy", "json", "object", "csv", "csv.gz", "tsv", "heading"])
def path(request, tmp_path):
    kind = request.param
    if kind == "npy":
        np.save(tmp_path / "s.npy", SCORES[:, None].astype(np.float32))
        return tmp_path / "s.npy"
    if kind in ("json", "object"):
        value = SCORES.tolist() if kind == "json" else {"name": "x", "scores": SCORES.tolist()}
        (tmp_path / "s.json").write_text(json.dumps(value))
        return tmp_path / "s.json"
    name = "s.csv" if kind == "heading" else f"s.{kind}"
    pd.Series(SCORES, name="score").to_csv(
        tmp_path / name, index=False, header=kind == "heading", sep="\t" if "tsv" in kind else ","
    )
    return tmp_path / name


def test_every_form_gives_the_same_numbers(path):
    assert read_array(path).tolist() == SCORES.tolist()


def test_a_table_that_unfolds_without_bound_is_refused(tmp_path, monkeypatch):
    path = tmp_path / "s.csv.gz"
    path.write_bytes(gzip.compress(b"1\n" * 50_000))
    assert len(read_array(path)) == 50_000
    monkeypatch.setattr(score_arrays, "MAX_FILE_BYTES", 99_999)
    with pytest.raises(MiaError, match="unfolds to more than 99,999 bytes"):
        read_array(path)


def test_members_come_first_and_signs_can_be_turned(path):
    table = table_of_arrays(path, path, negate=True)
    assert table.is_member.tolist() == [True] * 3 + [False] * 3
    assert table.score.tolist() == [*-SCORES, *-SCORES]
    assert table.sample_id.is_unique
    assert not table.calibration.any()


@pytest.mark.parametrize("name", ["s.pth", "s.pt", "s.pkl", "s.npz"])
def test_files_that_can_run_code_are_never_opened(name, tmp_path):
    with pytest.raises(MiaError, match="can run code"):
        read_array(tmp_path / name)


def test_a_pickle_in_an_npy_is_refused(tmp_path):
    np.save(tmp_path / "s.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(MiaError, match="cannot read"):
        read_array(tmp_path / "s.npy")
    (tmp_path / "t.npy").write_bytes(pickle.dumps([1.0]))
    with pytest.raises(MiaError, match="cannot read"):
        read_array(tmp_path / "t.npy")


@pytest.mark.parametrize(
    ("text", "what"),
    [("[1, NaN]", "no finite"), ("[[1, 2], [3, 4]]", "shape"), ('{"a": [1], "b": [2]}', "2 lists")],
)
def test_what_is_no_vector_of_numbers_is_refused(text, what, tmp_path):
    (tmp_path / "s.json").write_text(text)
    with pytest.raises(MiaError, match=what):
        read_array(tmp_path / "s.json")
