"""What a person must know of the captions that models and attacks read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from mia_bench.attacks import VersionsCaptions
from mia_bench.mitigations import RewritesCaptions, TakesCaptions
from mia_bench.mitigations.captions import SeveralCaptions
from mia_bench.models.readers.caption_tokens import CutsCaptions, HasLearnedWords
from mia_bench.utils.errors import MiaError

if TYPE_CHECKING:
    from mia_bench.models import Model
    from mia_bench.planning.specs import ModelSpec


def trained_on(models: Sequence[ModelSpec]) -> str:
    """'models are trained on the data's own': the captions of the models that a plan trains."""
    said = {spec.kind: _trained_on(spec) for spec in models}
    if not said:
        return "no model is trained"
    if len(set(said.values())) == 1:
        return f"models are trained on {next(iter(said.values()))}"
    return ", ".join(f"the {kind} is trained on {words}" for kind, words in said.items())


def _trained_on(spec: ModelSpec) -> str:
    words = "the data's own"
    mitigations = {} if spec.setup is None else spec.setup.mitigations
    for name, mitigation in mitigations.items():
        if isinstance(mitigation, TakesCaptions):
            words = f"those of {name}"
        elif isinstance(mitigation, RewritesCaptions):
            words = f"{words}, changed by {name}"
    return words


def caption_remarks(model: Model, captions: Sequence[str]) -> Iterator[str]:
    """Captions that are longer than the text encoder reads, and those that embed alike.

    Nothing where the model does not say, or is not here yet.
    """
    distinct = set(captions)
    if not any(distinct) or not isinstance(model, CutsCaptions):
        return
    try:
        ids, most = model.caption_tokens(list(distinct))
    except (MiaError, OSError):  # what is missing or damaged is said where it is needed
        return
    longer = {text for text, row in zip(distinct, ids, strict=True) if len(row) > most}
    if longer:
        rows = sum(caption in longer for caption in captions)
        yield (
            f"captions: {rows:,} of {len(captions):,} are longer than the {most} tokens that the "
            "text encoder reads; it sees nothing of the rest"
        )
    # the end of a caption that is cut is the token of the end, as of every other
    seen = {row if len(row) <= most else (*row[: most - 1], row[-1]) for row in ids}
    if len(seen) < len(distinct):
        yield (
            f"captions: {len(distinct):,} distinct texts are {len(seen):,} to the text encoder: "
            "the others embed like one of them"
        )


def unused_word_remarks(model: Model, captions: Sequence[str]) -> Iterator[str]:
    """Learned words (model.embeddings) that no caption holds, in upper or lower case."""
    if not isinstance(model, HasLearnedWords):
        return
    try:
        words = model.learned_words()
    except (MiaError, OSError):  # what is missing or damaged is said where it is needed
        return
    lower = [caption.lower() for caption in captions]
    for word in words:
        if not any(word.lower() in caption for caption in lower):
            yield (
                f"model.embeddings: none of {len(captions):,} captions holds the learned word "
                f"{word!r}, so it changes no answer; put it into the captions, or leave it out"
            )


def cutting_remarks(parts: Mapping[str, object], captions: Sequence[str]) -> Iterator[str]:
    """Attacks and mitigations that cut captions of languages without spaces between characters."""
    for name, part in parts.items():
        if isinstance(part, SeveralCaptions) or not isinstance(part, VersionsCaptions):
            continue
        if part.caption_version(captions):
            rows = sum(part.caption_version([caption]) is not None for caption in captions)
            yield (
                f"{name}: {rows:,} of {len(captions):,} captions are of a language without spaces, "
                "and are cut between characters"
            )
