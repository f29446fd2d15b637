"""Captions that are cut off or embed alike are counted, and languages without spaces are named."""

from __future__ import annotations

from collections.abc import Sequence

from mia_bench.attacks.clid import CLiD
from mia_bench.attacks.loss import Loss
from mia_bench.mitigations.captions import DeleteWords
from mia_bench.planning.caption_remarks import caption_remarks, cutting_remarks
from mia_bench.utils.errors import MiaError


class Reads:
    """A model that reads four tokens, a start and an end included, a letter each."""

    def caption_tokens(self, captions: Sequence[str]) -> tuple[list[tuple[int, ...]], int]:
        if "absent" in captions:
            raise MiaError("not here")
        return [(0, *map(ord, caption.lower()), 1) for caption in captions], 4


def test_long_captions_and_captions_that_embed_alike_are_counted() -> None:
    long, alike = caption_remarks(Reads(), ["ab", "abc", "abc", "abd", "x"])  # type: ignore[arg-type]
    assert "3 of 5 are longer than the 4 tokens" in long
    assert "4 distinct texts are 2 to the text encoder" in alike


def test_captions_that_fit_are_not_spoken_of() -> None:
    assert list(caption_remarks(Reads(), ["a", "b", "b"])) == []  # type: ignore[arg-type]
    assert list(caption_remarks(Reads(), ["", ""])) == []  # type: ignore[arg-type]
    assert list(caption_remarks(Reads(), ["absent"])) == []  # type: ignore[arg-type]


def test_attacks_that_cut_captions_name_languages_without_spaces() -> None:
    captions = ["\u684c\u5b50\u4e0a\u7684\u4e00\u53ea\u732b", "a cat on a table"]
    (remark,) = cutting_remarks({"clid": CLiD(), "loss": Loss()}, captions)
    assert remark.startswith("clid: 1 of 2 captions")
    (remark,) = cutting_remarks({"caption_delete": DeleteWords(), "dropout": object()}, captions)
    assert remark.startswith("caption_delete: 1 of 2 captions")
