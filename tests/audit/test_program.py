"""Audits from end to end, as an owner and a data owner would start them, and bad input."""

from __future__ import annotations

import shutil
from dataclasses import replace

import pytest

from mia_bench.audit.__main__ import main, run
from mia_bench.audit.program import prepare_audit, register_audit, run_audit
from mia_bench.audit.verdict import Answer
from mia_bench.utils.errors import MiaError


@pytest.mark.usefixtures("audited")
def test_an_audit_says_its_cost_its_answer_and_where_it_lies(ask_owner, capsys):
    result = run_audit(ask_owner())
    said = capsys.readouterr().out
    assert result.verdict.answer is not Answer.YES
    words = ("Nothing is left to ask", result.verdict.sentence[:20], "p = ", "page:", "record:")
    places = [said.index(word) for word in words]
    assert places == sorted(places)
    page = ask_owner().outputs / "reports" / "audit" / "index.html"
    assert page.is_file()
    assert (page.parent / "exposure.csv").is_file()


def test_a_picture_that_cannot_be_read_takes_no_caption_from_the_others(
    ask_owner, two_sets, tmp_path
):
    first = shutil.copytree(two_sets[0], tmp_path / "first")
    (first / "broken.png").write_bytes(b"\x89PNG nothing")
    plain, damaged = prepare_audit(ask_owner()), prepare_audit(ask_owner(first=first))
    assert plain.captions.source == "own"
    assert damaged.captions == plain.captions
    assert [skip.name for skip in damaged.sets.unreadable] == ["broken.png"]


def refused(*words: str) -> str:
    with pytest.raises(MiaError) as error:
        run([*words, "trainer=cpu"])
    return str(error.value)


@pytest.fixture
def bad(two_sets, tmp_path):
    """bad(first=..., second=...): why an audit of the bundled model is refused."""

    def ask(first=two_sets[0], second=two_sets[1], model="tiny"):
        words = ("owner", f"model={model}", f"members={first}", f"nonmembers={second}")
        return refused(*words, f"paths.outputs={tmp_path / 'outputs'}")

    return ask


def test_bad_input_is_a_sentence_with_a_way_out(bad, tmp_path, two_sets):
    empty = tmp_path / "empty"
    empty.mkdir()
    assert "members=" in bad(first=empty)
    assert "no picture" in bad(first=empty)
    assert "is not a folder" in bad(second=tmp_path / "nowhere")
    assert "neither a folder nor the id" in bad(model="no such model")
    copy = tmp_path / "copy"
    shutil.copytree(two_sets[0], copy)
    assert "give two sets that share none" in bad(second=copy)


@pytest.mark.long
def test_one_picture_cannot_answer(two_sets, tmp_path, capsys):
    one = tmp_path / "one"
    one.mkdir()
    shutil.copy(two_sets[0] / "p000.png", one)
    words = ["data", "model=tiny", f"mine={one}", f"unseen={two_sets[1]}", "attacks=sima"]
    run([*words, "trainer=cpu", f"paths.outputs={tmp_path / 'outputs'}"])
    said = capsys.readouterr().out
    assert "Cannot say, because 1 picture in question and 10 unseen pictures are too few" in said


def test_an_error_ends_with_status_1(capsys):
    with pytest.raises(SystemExit):
        main(["owner", "model=tiny"])
    assert "error: audit owner needs members=" in capsys.readouterr().err


@pytest.mark.usefixtures("audited")
def test_plan_only_says_the_cost_and_asks_nothing(ask_owner, tmp_path, capsys):
    request = ask_owner(outputs=tmp_path / "new", overrides=("trainer=cpu", "plan_only=true"))
    assert run_audit(request) is None
    said = capsys.readouterr().out
    assert "U-Net evaluations" in said
    assert "p = " not in said
    made = {path.name for path in (tmp_path / "new").iterdir()}
    assert made.isdisjoint({"features", "audits", "reports"})
    with pytest.raises(MiaError, match="plan_only=true writes nothing"):
        register_audit(replace(request, plan=tmp_path / "plan.json"))
    assert not (tmp_path / "plan.json").exists()


@pytest.mark.usefixtures("audited")
def test_the_answer_is_said_also_where_the_page_cannot_be_made(ask_owner, monkeypatch, capsys):
    def full(*_):
        raise MiaError("no space is left")

    monkeypatch.setattr("mia_bench.audit.program.write_page", full)
    with pytest.raises(MiaError, match="no space"):
        run_audit(ask_owner())
    assert "p = " in capsys.readouterr().out
