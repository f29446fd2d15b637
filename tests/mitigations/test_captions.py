"""Caption mitigations: what is deleted, exchanged and added, keyed by seed and sample."""

from __future__ import annotations

import json
from itertools import permutations

import numpy as np
import pytest

from mia_bench.mitigations.captions import DeleteWords, SeveralCaptions, ShuffleCaptions
from mia_bench.utils.errors import MiaError
from mia_bench.utils.rng import keyed_generator

IDS = [f"made:{i}" for i in range(40)]
CAPTIONS = [(f"thing {i}, red big old, in a box of wood {i}",) for i in range(40)]


@pytest.mark.parametrize("share", [0.1, 0.3])
def test_the_share_of_deleted_words_holds_on_average(share):
    found = DeleteWords(share=share, versions=20).captions(IDS, CAPTIONS, 0)
    left = [len(text.split()) for texts in found for text in texts]
    assert np.mean(left) / 11 == pytest.approx(1 - share, abs=0.015)
    for (original,), texts in zip(CAPTIONS, found, strict=True):
        for text in texts:
            words = iter(original.split())
            assert all(word in words for word in text.split())  # in order, nothing new


def test_deleting_leaves_a_word_and_is_keyed_by_sample_and_seed():
    assert DeleteWords(share=0.9).captions(["a"], [("word",)], 0) == [("word",)]
    delete = DeleteWords(share=0.3)
    both = delete.captions(IDS, CAPTIONS, 0)
    assert delete.captions(IDS[5:], CAPTIONS[5:], 0) == both[5:]
    assert delete.captions(IDS, CAPTIONS, 1) != both


def test_characters_are_deleted_where_a_language_has_no_spaces():
    caption = "桌子上的一只黑猫在睡觉 cat"  # 11 characters and a word
    (texts,) = DeleteWords(share=0.5, versions=20).captions(["a"], [(caption,)], 0)
    assert {len(text.replace("cat", "c").replace(" ", "")) for text in texts} == {6}
    for text in texts:
        characters = iter(caption)
        assert all(character in characters for character in text)  # in order, nothing new
    assert DeleteWords().caption_version(["a cat", caption]) == 2
    assert DeleteWords().caption_version(["a cat", "한국어 는"]) is None


@pytest.mark.parametrize(("share", "moved"), [(0.5, 20), (1.0, 40)])
def test_shuffling_exchanges_a_share_and_loses_none(share, moved):
    found = ShuffleCaptions(share).captions(IDS, CAPTIONS, 0)
    assert sum(a != b for a, b in zip(found, CAPTIONS, strict=True)) == moved
    assert sorted(found) == sorted(CAPTIONS)


def test_several_captions_reorder_the_parts():
    found = SeveralCaptions(each=6).captions(IDS, CAPTIONS, 0)
    for (original,), texts in zip(CAPTIONS, found, strict=True):
        assert texts[0] == original
        assert all(sorted(t.split(", ")) == sorted(original.split(", ")) for t in texts)
    assert len(set(found[0])) > 2


@pytest.mark.parametrize(
    ("caption", "parts", "between"),
    [
        ("一只猫，红色的，在桌上", ["一只猫", "红色的", "在桌上"], ["，", "，"]),
        ("猫、赤い、大きい", ["猫", "赤い", "大きい"], ["、", "、"]),
        ("قطة، حمراء، كبيرة", ["قطة", "حمراء", "كبيرة"], ["، ", "، "]),
        ("a cat, 红色的，big", ["a cat", "红色的", "big"], [", ", "，"]),
    ],
)
def test_commas_of_other_scripts_part_a_caption_and_stay(caption, parts, between):
    (texts,) = SeveralCaptions(each=12).captions(["a"], [(caption,)], 0)
    first, second = between
    orders = {f"{a}{first}{b}{second}{c}" for a, b, c in permutations(parts)}
    assert texts[0] == caption
    assert len(set(texts)) > 2
    assert set(texts) <= orders


def test_several_captions_of_known_commas_are_what_they_were():
    """Other keys only where a caption has another comma; the others by a literal version."""
    several = SeveralCaptions(each=3)
    assert several.caption_version(["a, b", "c,d", "一只猫"]) is None
    assert several.caption_version(["a, b", "一只，猫"]) == 2
    (texts,) = several.captions(["made:3"], [("thing, red,big, in a box",)], 7)
    parts = ["thing", "red,big", "in a box"]
    for i, text in enumerate(texts[1:], 1):
        order = keyed_generator("several", 7, "made:3", 0, i).permutation(3)
        assert text == ", ".join(parts[j] for j in order)


def test_several_captions_need_parts_or_a_file():
    with pytest.raises(MiaError, match="no caption has parts"):
        SeveralCaptions().captions(["a"], [("one whole sentence",)], 0)


def test_captions_of_a_file_are_used_and_identify_it(tmp_path):
    path = tmp_path / "captions.json"
    path.write_text(json.dumps({"made:0": ["another\x00 way", "  "], "made:9": ["unused"]}))
    several = SeveralCaptions(each=3, file=str(path))
    found = several.captions(["made:0", "made:1"], [("one",), ("two",)], 0)
    assert found == [("one", "another  way", "one"), ("two", "two", "two")]
    before = several.file_hash()
    path.write_text(json.dumps({"made:0": ["yet another"]}))
    assert several.file_hash() != before


@pytest.mark.parametrize("text", ["[1, 2]", "{", '{"made:0": 3}', '{"made:0": [3]}'])
def test_a_file_of_another_form_is_refused(tmp_path, text):
    path = tmp_path / "captions.json"
    path.write_text(text)
    with pytest.raises(MiaError, match="not JSON of the form"):
        SeveralCaptions(file=str(path)).captions(["made:0"], [("one",)], 0)
    with pytest.raises(MiaError, match="does not exist"):
        SeveralCaptions(file=str(tmp_path / "none.json")).file_hash()
