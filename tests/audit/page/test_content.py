"""What the page shows follows from the result alone."""

from __future__ import annotations

from dataclasses import replace

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


def test_remarks_say_which_captions_were_used(audited, audited_folder):
    assert "The pictures' own captions are used." in page_of(audited, audited_folder).remarks
