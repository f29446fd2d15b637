"""Rewrites of captions by fixed rules."""

from __future__ import annotations

import pytest

from mia_bench.attacks.black_box.caption_rewrites import FRAMES, STYLES, SYNONYMS, rewritten


def test_the_caption_itself_stays_as_it_is() -> None:
    assert rewritten(" a small  boat.", "caption", 3) == " a small  boat."


def test_words_are_exchanged_and_keep_their_capital() -> None:
    assert rewritten("A Small car, near the HOUSE", "synonyms") == (
        "A Little automobile, close to the Home"
    )
    assert rewritten("nothing of the kind", "synonyms") == "nothing of the kind"
    assert rewritten("Ein kleines Äpfelchen", "synonyms") == "Ein kleines Äpfelchen"


@pytest.mark.parametrize("draw", [0, 1, len(STYLES)])
def test_another_style_and_frame_for_each_draw(draw: int) -> None:
    style, frame = STYLES[draw % len(STYLES)], FRAMES[draw % len(FRAMES)]
    assert rewritten("a red boat.", "style", draw) == f"a red boat, {style}"
    assert rewritten("a red boat", "framing", draw) == frame.replace("{}", "a red boat")


def test_braces_of_a_caption_are_text() -> None:
    assert rewritten("{0.__class__} {}", "framing") == "a picture of {0.__class__} {}"


@pytest.mark.parametrize("rule", ["synonyms", "style", "framing"])
def test_no_caption_stays_none(rule: str) -> None:
    assert rewritten("  ", rule) == "  "  # type: ignore[arg-type]


def test_synonyms_go_both_ways() -> None:
    assert all(SYNONYMS[other] == word for word, other in SYNONYMS.items())
    assert all(frame.count("{}") == 1 for frame in FRAMES)
