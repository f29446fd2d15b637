"""What the page shows follows from the result alone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from mia_bench.audit.page.content import COLOURS, page_of
from mia_bench.audit.verdict import Answer


def test_every_answer_has_a_colour(audited, audited_folder):
    assert set(COLOURS) == set(Answer)
    shown = page_of(audited, audited_folder)
    for answer, colour in COLOURS.items():
        verdict = replace(audited.verdict, answer=answer)
        assert replace(shown, result=replace(audited, verdict=verdict)).colour == colour


def test_the_command_is_one_that_a_shell_reads(audited, audited_folder):
    shown = page_of(audited, audited_folder)
    assert replace(shown, manifest={"command": ["mia-bench", "a b"]}).command == "mia-bench 'a b'"
    assert replace(shown, manifest={}).command == "unknown"


def test_what_verifies_it_names_the_outputs_where_they_are_not_the_usual_ones(
    audited, audited_folder
):
    shown = page_of(audited, audited_folder)
    usual = replace(shown, folder=Path("outputs/audits/owner-0123456789abcdef"))
    assert usual.verify_command == "mia-bench verify owner-0123456789abcdef"
    other = replace(shown, folder=Path("/data/my outputs/audits/owner-0123456789abcdef"))
    assert other.verify_command.endswith(" 'paths.outputs=/data/my outputs'")


def test_remarks_say_which_captions_were_used(audited, audited_folder):
    assert "The pictures' own captions are used." in page_of(audited, audited_folder).remarks
