"""Mitigations that are about captions have captions to work on, whatever the attacker asks with."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

from mia_bench.data.source import Item
from mia_bench.mitigations import (
    Captions,
    FiltersRows,
    Mitigation,
    RewritesCaptions,
    TrainingSetup,
)
from mia_bench.mitigations.settings import CaptionDropout
from mia_bench.utils.errors import MiaError

FIRST_ROWS = 1000
"""Tried before all: most often they show that every mitigation does something."""


def check_training_captions(setup: TrainingSetup, items: Sequence[Item], kind: str) -> None:
    """Every mitigation about captions changes something for a model that is trained on `items`.

    Args:
        kind: of the model, "target" or "shadow".

    Raises:
        MiaError: one that does not, or that cannot rewrite these captions.
    """
    if not any(map(_is_about_captions, setup.mitigations.values())):
        return
    if len(items) > FIRST_ROWS:
        with suppress(MiaError):  # what the first rows lack others may have
            _check(setup, items[:FIRST_ROWS], kind)
            return
    _check(setup, items, kind)


def _is_about_captions(mitigation: Mitigation) -> bool:
    return isinstance(mitigation, FiltersRows | RewritesCaptions | CaptionDropout)


def _check(setup: TrainingSetup, items: Sequence[Item], kind: str) -> None:
    captions: Captions = [(item.own_caption,) for item in items]
    for name, mitigation in setup.mitigations.items():
        if not isinstance(mitigation, RewritesCaptions):
            continue
        ids = [item.sample_id for item in items]
        rewritten = mitigation.captions(ids, captions, setup.recipe.seed)
        if rewritten == captions:
            raise MiaError(_idle(name, captions, kind))
        captions = rewritten
    if not _any_text(captions):
        about = [name for name, m in setup.mitigations.items() if _is_about_captions(m)]
        raise MiaError(_idle("+".join(about), captions, kind))


def _any_text(captions: Captions) -> bool:
    return any(text.strip() for texts in captions for text in texts)


def _idle(name: str, captions: Captions, kind: str) -> str:
    if not _any_text(captions):
        return (
            f"mitigation={name} is about what captions do, and none of the {len(captions):,} "
            f"pictures that the {kind} is trained on has one: use data with captions, or leave it "
            "out."
        )
    return (
        f"mitigation={name} leaves the captions of all {len(captions):,} pictures that the {kind} "
        "is trained on as they are, as where each is one word, or all are the same: use data whose "
        "captions it changes, or leave it out."
    )
