"""Reduced captions: the conditions c*_1 ... c*_{K-1} of CLiD (arXiv 2405.14800, section 4.2).

    thirds       first, middle and last third of the words, or of the characters
    importance   the most important words clipped: with the weights w of n words sorted, falling,
                 those at or above w[int(rate n - 0.01)], as in the released code
    gaussian     c* = (1 - r) c + r std(c) n,  n ~ N(0, I), c the text encoder's hidden states

The released weights of words come from a cross-attention tool that is not published with them; ours
compare by the target's own text encoder, which is the one the U-Net listens to:
    w_i = 1 - cos( h(caption), h(caption without word i) ),  h the mean hidden state
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from mia_bench.target import Batch, Condition, Target
from mia_bench.utils.rng import keyed_generator
from mia_bench.utils.text import caption_units

DIGITS = 5  # of a weight; the sums behind it differ in the seventh with the size of a batch
POOLED = "text_embeds"  # diffusers' name for a second, pooled embedding of the same caption


def word_thirds(caption: str) -> tuple[str, str, str]:
    """First, middle and last third of the words. A short caption leaves thirds empty."""
    parts = np.array_split(np.array(caption_units(caption), dtype=object), 3)
    first, middle, last = ("".join(part).strip() for part in parts)
    return first, middle, last


def character_thirds(caption: str) -> tuple[str, str, str]:
    """First, middle and last third of the characters, as the released code cuts."""
    n = len(caption)
    return caption[: n // 3], caption[n // 3 : 2 * n // 3], caption[2 * n // 3 :]


def clip_words(caption: str, weights: Sequence[float], rate: float, blank: str) -> str:
    """The caption with its most important words replaced by `blank`, or left out where it is "".

    Words that tie with the last one clipped go too, so more than `rate` of them may.
    """
    units = caption_units(caption)
    if not units:
        return caption
    threshold = sorted(weights, reverse=True)[int(rate * len(units) - 0.01)]
    clipped = f" {blank} " if blank else ""
    kept = (clipped if w >= threshold else unit for unit, w in zip(units, weights, strict=True))
    return " ".join("".join(kept).split())


def importances(target: Target, captions: Sequence[str]) -> dict[str, tuple[float, ...]]:
    """Weights of the words of each caption. Costs one text embedding a word, and no NFE."""
    without = {c: [_without(c, i) for i in range(len(caption_units(c)))] for c in captions}
    texts = dict.fromkeys(text for c, parts in without.items() for text in (c, *parts))
    state = _mean_states(target, list(texts))
    pairs = [(c, part) for c, parts in without.items() for part in parts]
    if not pairs:
        return dict.fromkeys(without, ())
    whole, less = (torch.stack([state[pair[i]] for pair in pairs]) for i in (0, 1))
    fetched: list[float] = F.cosine_similarity(whole, less, dim=1).tolist()  # once for all words
    weight = {pair: round(1 - alike, DIGITS) for pair, alike in zip(pairs, fetched, strict=True)}
    return {c: tuple(weight[c, part] for part in parts) for c, parts in without.items()}


def noised(target: Target, batch: Batch, rate: float, draw: int) -> Condition:
    """The captions of a batch as c*; n is keyed by (seed, sample id, draw) alone.

    A pooled embedding is treated as the hidden states are; other additions are no text and stay.
    """
    cond = target.embed(batch.caption)
    extra = dict(cond.extra)
    if POOLED in extra:
        extra[POOLED] = _noised(target, batch, extra[POOLED], rate, draw, POOLED)
    hidden = _noised(target, batch, cond.hidden, rate, draw, "text")
    # no caption holds a control character, so that no caption has such a key
    keys = [
        f"\0gaussian {rate:g} {draw} {sid} {c}"
        for sid, c in zip(batch.sample_id, batch.caption, strict=True)
    ]
    return Condition(tuple(keys), hidden, extra)


def _noised(target: Target, batch: Batch, c: Tensor, rate: float, draw: int, name: str) -> Tensor:
    rows = []
    for sid, row in zip(batch.sample_id, c, strict=True):
        generator = keyed_generator(target.seed, name, sid, draw)
        n = torch.from_numpy(generator.standard_normal(tuple(row.shape), dtype=np.float32))
        rows.append((1 - rate) * row + rate * row.std() * n.to(row))
    return torch.stack(rows)


def _without(caption: str, i: int) -> str:
    units = caption_units(caption)
    return "".join(units[:i] + units[i + 1 :]).strip()


def _mean_states(target: Target, texts: Sequence[str]) -> Mapping[str, Tensor]:
    """(width,) mean hidden state of each text, float64; whole chunks, none of them remembered."""
    parts = (texts[i : i + target.chunk] for i in range(0, len(texts), target.chunk))
    states = [target.embed(part, remember=False).hidden.cpu().double().mean(1) for part in parts]
    return dict(zip(texts, torch.cat(states), strict=True))
