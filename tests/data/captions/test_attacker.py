"""captions.py: what the attacker asks with; models are trained on the data's own captions."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from miniature import plain_table
from splits import split_of

from mia_bench.data.captions.attacker import from_file
from mia_bench.planning.make_plan import make_plan
from mia_bench.utils.errors import MiaError


@pytest.fixture
def ids(folder_run, tmp_path: Path) -> list[str]:
    return list(split_of(folder_run(outputs=tmp_path), tmp_path)[1].sample_id)


def test_by_default_the_attacker_has_the_captions_of_the_data(folder_run, tmp_path) -> None:
    plan = make_plan(folder_run(outputs=tmp_path))
    assert all(item.caption == item.own_caption for item in plan.items.values())


@pytest.mark.long
def test_without_captions_the_target_is_the_same_and_the_questions_are_not(
    folder_run, tmp_path
) -> None:
    own = make_plan(folder_run("attack=loss", outputs=tmp_path))
    null = make_plan(folder_run("attack=loss", "data.captions=null", outputs=tmp_path))
    assert null.target.key == own.target.key
    assert null.split == own.split
    assert null.runs[0].evaluation.folder != own.runs[0].evaluation.folder
    assert {null.items[sid].caption for sid in null.rows("target_member")} == {""}
    for sid in own.split.sample_id:
        assert null.items[sid].own_caption == own.items[sid].caption


@pytest.mark.first_look
@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_captions_from_a_file(kind: str, ids: list[str], folder_run, tmp_path: Path) -> None:
    path = tmp_path / f"captions.{kind}"
    texts = [f"file says {i}" for i in range(len(ids))]
    rows = [{"sample_id": sid, "caption": t} for sid, t in zip(ids, texts, strict=True)]
    if kind == "parquet":
        plain_table(path, sample_id=ids, caption=texts)
    elif kind == "csv":
        lines = [f'{sid},"{said}"' for sid, said in zip(ids, texts, strict=True)]
        path.write_text("\n".join(["sample_id,caption", *lines]))
    else:
        path.write_text("\n".join(map(json.dumps, rows)))
    plan = make_plan(folder_run(f"data.captions=file:{path}", outputs=tmp_path))
    said = dict(zip(ids, texts, strict=True))
    for sid in plan.rows("target_member", "shadow_nonmember"):
        assert plan.items[sid].caption == said[sid]
    path.write_bytes(path.read_bytes() if kind == "parquet" else b"")
    if kind != "parquet":
        with pytest.raises(MiaError, match=rf"captions\.{kind} cannot be read"):
            make_plan(folder_run(f"data.captions=file:{path}", outputs=tmp_path))


@pytest.mark.long
def test_a_file_that_lacks_rows_says_how_many(ids: list[str], folder_run, tmp_path: Path) -> None:
    path = tmp_path / "captions.csv"
    path.write_text("sample_id,caption\n" + "".join(f"{sid},x\n" for sid in ids[:10]))
    with pytest.raises(MiaError, match=r"no caption for \d+ of 60 rows, for example imagefolder:"):
        make_plan(folder_run(f"data.captions=file:{path}", outputs=tmp_path))


@pytest.mark.parametrize("choice", ["nul", "file:", "pseudo", "own:x"])
def test_a_choice_that_is_none(choice: str, folder_run, tmp_path: Path) -> None:
    with pytest.raises(MiaError, match=r"data\.captions=.*use own, null, file:<csv"):
        folder_run(f"data.captions='{choice}'", outputs=tmp_path)


def test_several_captions_of_one_row_are_refused_where_they_differ(tmp_path: Path) -> None:
    path = tmp_path / "captions.csv"
    path.write_text("sample_id,caption\na,one\na,two\nb,three\n")
    with pytest.raises(MiaError, match="several captions for 1 rows, for example a"):
        from_file(path, {"a", "b"})
    path.write_text("sample_id,caption\na,one\na,one\n")
    assert from_file(path, {"a"}) == {"a": "one"}


def test_a_file_of_captions_may_lie_at_home(tmp_path: Path, monkeypatch) -> None:
    """No shell expands the ~ of data.captions=file:~/said.csv."""
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "said.csv").write_text("sample_id,caption\na,one cat\n")
    assert from_file(Path("~/said.csv"), {"a"}) == {"a": "one cat"}
