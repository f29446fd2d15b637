"""captions.py: thirds of captions, by words and by characters."""

from __future__ import annotations

import pytest

from mia_bench.attacks.captions import character_thirds, word_thirds


@pytest.mark.parametrize(
    ("caption", "thirds"),
    [
        ("a b c d e f", ("a b", "c d", "e f")),
        ("a b c d e f g", ("a b c", "d e", "f g")),
        ("a b c d e f g h", ("a b c", "d e f", "g h")),
        ("a b c", ("a", "b", "c")),
        ("a b", ("a", "b", "")),
        ("a", ("a", "", "")),
        ("", ("", "", "")),
        ("  a \t b\nc  ", ("a", "b", "c")),
        ("él 🐢 grün", ("él", "🐢", "grün")),
        ("7 8 9", ("7", "8", "9")),
    ],
)
def test_word_thirds(caption: str, thirds: tuple[str, str, str]) -> None:
    assert word_thirds(caption) == thirds


@pytest.mark.parametrize(
    ("caption", "thirds"),
    [
        ("abcdef", ("ab", "cd", "ef")),
        ("abcdefg", ("ab", "cd", "efg")),
        ("abcdefgh", ("ab", "cde", "fgh")),
        ("a red fox", ("a r", "ed ", "fox")),
        ("ab", ("", "a", "b")),
        ("a", ("", "", "a")),
        ("", ("", "", "")),
    ],
)
def test_character_thirds(caption: str, thirds: tuple[str, str, str]) -> None:
    assert character_thirds(caption) == thirds


@pytest.mark.parametrize("n", range(20))
def test_no_word_and_no_character_is_lost(n: int) -> None:
    words = [f"w{i}" for i in range(n)]
    parts = [part.split() for part in word_thirds(" ".join(words))]
    assert [word for part in parts for word in part] == words
    assert [len(part) for part in parts] == sorted((len(part) for part in parts), reverse=True)
    assert max(map(len, parts)) - min(map(len, parts)) <= 1
    text = "".join(chr(97 + i) for i in range(n))
    assert "".join(character_thirds(text)) == text
