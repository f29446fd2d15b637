"""An audit is a run like any other: its captions, its words, its split, its cost."""

from __future__ import annotations

import pytest

from mia_bench.audit.experiment import (
    PANEL,
    choose_captions,
    cost_lines,
    run_words,
)
from mia_bench.audit.page.evidence import EVIDENCE_STEPS, evidence_evaluations
from mia_bench.audit.program import prepare_audit
from mia_bench.data.split.roles import Role
from mia_bench.utils.errors import MiaError


def test_own_captions_are_used_where_all_have_one():
    assert choose_captions(None, ["a dog", "a cat"]).source == "own"


def test_one_caption_in_every_file_is_said():
    choice = choose_captions(None, ["a photo of sks dog"] * 3)
    assert choice.source == "own"
    assert choice.remark == "All have the same one: 'a photo of sks dog'."
    assert choice.words == choose_captions(None, ["a dog", "a cat"]).words  # part of the key


def test_some_captions_are_as_good_as_none():
    """What one set has and the other has not would tell them apart."""
    choice = choose_captions(None, ["a dog", ""])
    assert choice.empty
    assert "1 of 2 pictures have one" in choice.words


@pytest.mark.parametrize(
    ("asked", "source", "empty"),
    [("none", "none", True), ("a photo of sks dog", "one", False), ("pseudo:blip", "none", False)],
)
def test_captions_that_are_asked_for(asked, source, empty):
    choice = choose_captions(asked, ["", ""])
    assert (choice.source, choice.empty) == (source, empty)
    assert asked.removeprefix("pseudo:") in choice.words or asked == "none"


def test_own_captions_that_are_not_there_are_refused():
    with pytest.raises(MiaError, match="1 of 2 pictures have no caption"):
        choose_captions("own", ["a dog", " "])


def test_the_panel_without_captions_has_no_attack_that_needs_them(ask_owner):
    own, none = choose_captions(None, ["a"]), choose_captions(None, [""])
    with_captions = run_words(ask_owner(attacks=()), own, "c")
    assert f"attack=[{','.join(PANEL)}]" in with_captions
    assert "attack.clid.alpha=0.5" in with_captions
    assert "attack=[sima,pia,mc]" in run_words(ask_owner(attacks=()), none, "c")


def test_roles_follow_the_folders(audited):
    split = audited.prepared.run.plan.split
    members = {row.name for row in split.table if row.role is Role.TARGET_MEMBER}
    assert members == {f"p{i:03d}.png" for i in range(10)}
    assert len(split.table) == 20


def test_what_is_asked_is_said_before(ask_owner, tmp_path):
    prepared = prepare_audit(ask_owner(outputs=tmp_path))
    (line,) = cost_lines(prepared.run)
    assert line.startswith("At most 40 U-Net evaluations (2 a picture and model), about ")
    assert not list(tmp_path.glob("features/*/*/*/manifest.json"))


@pytest.mark.long
def test_evidence_is_part_of_the_cost(ask_owner, tmp_path):
    prepared = prepare_audit(ask_owner(outputs=tmp_path))
    evidence = evidence_evaluations(10, prepared.captions)
    assert evidence == 6 * 2 * EVIDENCE_STEPS
    (line,) = cost_lines(prepared.run, evidence)
    assert line.startswith("At most 280 U-Net evaluations (2 a picture and model, 240 of them to")
    assert evidence_evaluations(3, prepared.captions) == 4 * 2 * EVIDENCE_STEPS
    assert evidence_evaluations(10, choose_captions("none", [""])) == 6 * EVIDENCE_STEPS


@pytest.mark.long
@pytest.mark.usefixtures("audited")
def test_evidence_costs_where_features_are_stored(ask_owner):
    first, second = cost_lines(prepare_audit(ask_owner()).run, 240)
    assert first == "The features of these pictures are stored."
    assert second.startswith("At most 240 U-Net evaluations (240 of them to restore")


@pytest.mark.usefixtures("audited")
def test_what_is_stored_is_not_asked_again(ask_owner):
    (line,) = cost_lines(prepare_audit(ask_owner()).run)
    assert "Nothing is left to ask" in line
