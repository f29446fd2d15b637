"""captions.py: thirds of captions, words clipped by importance, and noise on their embedding."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from mia_bench.attacks.components.caption_reductions import (
    character_thirds,
    clip_words,
    importances,
    noised,
    word_thirds,
)
from mia_bench.target import Batch
from mia_bench.utils.rng import keyed_generator
from mia_bench.utils.text import caption_units


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


# --- importance ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("weights", "rate", "clipped"),
    [
        ((5, 4, 3, 2, 1), 0.3, "P P c d e"),  # int(1.49) = 1: the two largest
        ((5, 4, 3, 2, 1), 0.5, "P P P d e"),  # int(2.49) = 2
        ((5, 4, 3, 2, 1), 0.7, "P P P P e"),  # int(3.49) = 3
        ((1, 5, 2, 4, 3), 0.3, "a P c P e"),
        ((1, 5, 2, 4, 3), 0.2, "a P c d e"),  # int(0.99) = 0
        ((1, 1, 1, 1, 2), 0.5, "P P P P P"),  # ties with the last one go too
        ((0, 0, 1, 0, 0), 0.2, "a b P d e"),
        ((1, 2, 3, 4, 5), 1.0, "P P P P P"),
    ],
)
def test_clipping_follows_the_released_rule(weights: Any, rate: float, clipped: str) -> None:
    assert clip_words("a b c d e", weights, rate, "P") == clipped
    dropped = " ".join(word for word in clipped.split() if word != "P")
    assert clip_words("a b c d e", weights, rate, "") == dropped


def test_short_captions_are_clipped_too() -> None:
    assert clip_words("word", (0.1,), 0.3, "P") == "P"
    assert clip_words("word", (0.1,), 0.3, "") == ""
    assert clip_words("", (), 0.3, "P") == ""
    assert clip_words("b  a\tb", (2, 1, 2), 0.5, "P") == "P a P"


@torch.no_grad()
def test_importance_is_what_leaving_the_word_out_changes(random_target: Any) -> None:
    target = random_target()
    captions = ["babor defex figim", "one", "", "twice twice", "babor defex figim"]
    found = importances(target, captions)
    assert set(found) == set(captions)

    def mean_state(text: str) -> Any:
        hidden, _ = target.text.embed([text])
        return hidden[0].double().mean(0).numpy()

    for caption in found:
        words = caption.split()
        assert len(found[caption]) == len(words)
        full = mean_state(caption)
        for i, weight in enumerate(found[caption]):
            rest = mean_state(" ".join(words[:i] + words[i + 1 :]))
            cosine = full @ rest / (np.linalg.norm(full) * np.linalg.norm(rest))
            assert weight == pytest.approx(1 - cosine, abs=1e-5)
    assert found["twice twice"][0] == found["twice twice"][1]
    assert len(set(found["babor defex figim"])) == 3


def test_importance_costs_each_text_once_and_nothing_of_the_network(random_target: Any) -> None:
    target = random_target(chunk=2)
    sizes = []
    embed = target.text.embed
    target.text.embed = lambda texts: sizes.append(len(texts)) or embed(texts)
    importances(target, ["babor defex figim", "babor defex"])
    # two captions, one of them also the first without its last word; 3 + 2 reduced, one repeated
    texts = {"babor defex figim", "defex figim", "babor figim", "babor defex", "defex", "babor"}
    assert target.queries["embed"] == sum(sizes) == len(texts)
    assert max(sizes) <= 2
    assert target.queries["forward"] == 0
    target.embed(["defex"])
    assert target.queries["embed"] == len(texts) + 1  # reduced texts were not remembered


# --- gaussian ------------------------------------------------------------------------------------


def test_noise_on_the_embedding_is_the_formula(random_target: Any, random_batch: Any) -> None:
    target, batch = random_target(seed=3), random_batch(2)
    found = noised(target, batch, 0.7, 1)
    for i, sid in enumerate(batch.sample_id):
        c = target.text.embed([batch.caption[i]])[0][0].double().numpy()
        n = keyed_generator(3, "text", sid, 1).standard_normal(c.shape, dtype=np.float32)
        expected = 0.3 * c + 0.7 * c.std(ddof=1) * n
        np.testing.assert_allclose(found.hidden[i].numpy(), expected, rtol=1e-4, atol=1e-5)


def test_noise_depends_on_seed_sample_and_draw_alone(random_target: Any, random_batch: Any) -> None:
    target, batch = random_target(), random_batch(3)
    whole = noised(target, batch, 0.5, 0)
    alone = Batch(batch.sample_id[2:], batch.image[2:], batch.caption[2:])
    assert torch.equal(noised(target, alone, 0.5, 0).hidden[0], whole.hidden[2])
    for other in (
        noised(target, batch, 0.5, 1),
        noised(random_target(seed=1), batch, 0.5, 0),
        noised(target, Batch(("x", "y", "z"), batch.image, batch.caption), 0.5, 0),
    ):
        assert not torch.isclose(other.hidden, whole.hidden).all(dim=(1, 2)).any()
    keys = [noised(target, batch, rate, draw).key for rate in (0.5, 0.7) for draw in (0, 1)]
    assert len({key for row in keys for key in row}) == 12
    assert not {key for row in keys for key in row} & set(batch.caption)


def test_a_pooled_embedding_is_noised_and_other_additions_are_not(
    random_target: Any, random_batch: Any
) -> None:
    target, batch = random_target(), random_batch(2)
    plain = target.text.embed

    def embed(texts: Any) -> Any:
        hidden = plain(texts)[0]
        sizes = torch.full((len(texts), 6), 64.0)
        return hidden, {"text_embeds": hidden.mean(1), "time_ids": sizes}

    target.text.embed = embed
    found = noised(target, batch, 0.9, 0)
    assert torch.equal(found.extra["time_ids"], torch.full((2, 6), 64.0))
    pooled = target.embed(batch.caption).extra["text_embeds"]
    assert not torch.isclose(found.extra["text_embeds"], pooled).any(dim=1).all()
    away = (found.extra["text_embeds"] - 0.1 * pooled).std(dim=1)
    assert torch.allclose(away, 0.9 * pooled.std(dim=1), rtol=0.6)  # 16 values


@pytest.mark.parametrize(
    ("caption", "thirds"),
    [
        ("一只黑猫坐在桌子上", ("一只黑", "猫坐在", "桌子上")),
        ("黒い猫がいる。", ("黒い猫", "がい", "る。")),
        ("a 黑猫 on it", ("a 黑", "猫 on", "it")),
        ("สวัสดี", ("สวั", "ส", "ดี")),
    ],
)
def test_languages_without_spaces_are_cut_between_characters(caption, thirds) -> None:
    """Marks stay with their letter, words of other scripts stay whole."""
    assert word_thirds(caption) == thirds


@pytest.mark.parametrize(
    "caption", ["a red boat", "", "one", " two  words ", "한국어 는 띄어 쓴다"]
)
def test_captions_with_spaces_are_cut_at_words_as_ever(caption) -> None:
    parts = np.array_split(np.array(caption.split(), dtype=object), 3)
    assert word_thirds(caption) == tuple(" ".join(part) for part in parts)
    assert caption_units(caption) == [
        word if i == 0 else f" {word}" for i, word in enumerate(caption.split())
    ]


def test_characters_are_clipped_by_importance() -> None:
    assert clip_words("一只黑猫", [1.0, 0.0, 0.0, 0.5], 0.5, "<p>") == "<p> 只黑 <p>"
    assert clip_words("一只黑猫", [1.0, 0.0, 0.0, 0.5], 0.5, "") == "只黑"
