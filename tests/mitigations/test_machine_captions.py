"""Machine captions: what is trained on, and that they are known by their content."""

from __future__ import annotations

import pytest
from encoded import RECIPE, treated

from mia_bench.mitigations import RewritesCaptions, TakesCaptions, apply_mitigations
from mia_bench.mitigations.machine_captions import MachineCaptions
from mia_bench.utils.errors import MiaError

TEXTS = {"a": "a red thing", "b": "a blue thing"}


def identity(captions, node):
    return apply_mitigations(
        {"caption_machine": captions}, {"caption_machine": node}, RECIPE, 4, 4, 1, "32-true"
    ).identity()


def test_every_row_gets_its_one_caption():
    read = MachineCaptions(file="captions.csv").with_captions(TEXTS)
    assert read.captions(["b", "a"], [("own b", "other b"), ("own a",)], 0) == [
        ("a blue thing",),
        ("a red thing",),
    ]


def test_they_count_by_their_words_wherever_they_came_from():
    keys = []
    for option, place, texts in (
        ("file", "here.csv", TEXTS),
        ("captioner", "some/folder", dict(reversed(TEXTS.items()))),
        ("file", "here.csv", {**TEXTS, "b": "a green thing"}),
    ):
        node = {"_target_": "x", "file": None, "captioner": None, option: place}
        keys.append(identity(MachineCaptions(**{option: place}).with_captions(texts), node))
    assert keys[0] == keys[1] != keys[2]


def test_neither_a_file_nor_a_captioner_is_refused():
    with pytest.raises(MiaError, match=r"caption_machine\.file=captions\.csv.*captioner"):
        MachineCaptions().check(treated(RECIPE).context)
    with pytest.raises(ValueError, match="one of file and captioner"):
        MachineCaptions(file="a", captioner="b")


def test_it_never_trains_on_own_captions_in_silence():
    unread = MachineCaptions(file="captions.csv")
    assert isinstance(unread, TakesCaptions)
    assert isinstance(unread, RewritesCaptions)
    with pytest.raises(MiaError, match="not been read"):
        unread.captions(["a"], [("own",)], 0)
