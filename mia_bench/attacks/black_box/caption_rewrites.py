"""Captions in other words, by fixed rules: the same caption gives the same rewrites everywhere.

SD-MIA (arXiv 2605.27020) has a language model rewrite captions in three ways; these rules stand in
for it [ours]:
    caption   the caption as it is
    synonyms  frequent words exchanged for words of about the same meaning
    style     a style appended, another one for each draw
    framing   the caption inside a sentence, another one for each draw
Where a rule finds nothing to change, the caption stays as it is.
"""

from __future__ import annotations

import re
from typing import Literal

Rewrite = Literal["caption", "synonyms", "style", "framing"]

STYLES = (
    *("in soft light", "highly detailed", "with vivid colours", "in muted colours"),
    *("as a flat illustration", "with clean lines", "close-up view", "on a plain background"),
)
FRAMES = (
    *("a picture of {}", "an image that shows {}", "{}, as seen in a picture"),
    *("this is {}", "a depiction of {}", "look at {}"),
)
_PAIRS = (
    *(("small", "little"), ("large", "big"), ("woman", "lady"), ("man", "gentleman")),
    *(("child", "kid"), ("picture", "image"), ("photo", "photograph"), ("house", "home")),
    *(("car", "automobile"), ("street", "road"), ("happy", "cheerful"), ("sad", "unhappy")),
    *(("face", "visage"), ("hand", "palm"), ("person", "human"), ("ship", "boat")),
    *(("stone", "rock"), ("forest", "woods"), ("begin", "start"), ("quick", "fast")),
    *(("pretty", "beautiful"), ("smiling", "grinning"), ("sitting", "seated"), ("shop", "store")),
    *(("bicycle", "bike"), ("sofa", "couch"), ("gift", "present"), ("near", "close to")),
)
SYNONYMS = {word: other for pair in _PAIRS for word, other in (pair, pair[::-1])}
WORD = re.compile(r"[^\W\d_]+")


def rewritten(caption: str, rule: Rewrite, draw: int = 0) -> str:
    """The caption by one of the rules; `draw` counts the images that are asked for."""
    text = caption.strip()
    if not text or rule == "caption":
        return caption
    if rule == "synonyms":
        return WORD.sub(lambda word: _exchanged(word[0]), caption)
    if rule == "style":
        return f"{text.rstrip('.')}, {STYLES[draw % len(STYLES)]}"
    before, _, behind = FRAMES[draw % len(FRAMES)].partition("{}")
    return before + text + behind


def _exchanged(word: str) -> str:
    """The synonym, capitalised as the word was; a word without one stays."""
    other = SYNONYMS.get(word.lower(), word)
    return other.capitalize() if word[0].isupper() and other != word else other
