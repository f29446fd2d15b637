"""Controls find what is planted, nothing where there is nothing, and are judged fairly."""

from __future__ import annotations

import numpy as np
import pytest
from open_clip_models import small_open_clip
from PIL import Image

from mia_bench.data.source import Item
from mia_bench.evaluation.controls.blind_baselines import (
    blind_rows,
    caption_words,
    image_embeddings,
    image_statistics,
)
from mia_bench.metrics import permutation
from mia_bench.metrics.permutation import holm

N = 120
WORDS = ("river", "stone", "cloud", "lamp", "horse", "train", "apple", "violin")


def pairs(brighter: np.ndarray, word: np.ndarray, seed: int = 0) -> list[Item]:
    """Noise pictures, random captions; `brighter` rows are lighter, `word` rows say 'secret'."""
    rng = np.random.default_rng(seed)
    items = []
    for i in range(N):
        noise = rng.integers(0, 150, (16, 16, 3)) + 60 * int(brighter[i])
        picture = Image.fromarray(noise.astype(np.uint8))
        caption = " ".join([*rng.choice(WORDS, 4), "secret" if word[i] else "plain"])
        items.append(Item(f"made:{i:012x}", caption, str(i), lambda _, p=picture: p))
    return items


@pytest.fixture(scope="module")
def labels():
    return np.random.default_rng(1).random(N) < 0.5


def group() -> np.ndarray:
    return np.array([f"g{i}" for i in range(N)])


@pytest.fixture(autouse=True)
def _fewer_permutations(monkeypatch):
    monkeypatch.setattr(permutation, "PERMUTATIONS", 199)


def found(items, labels):
    return {row.name: row for row in blind_rows(items, labels, group(), 16, 0)}


def test_a_shift_in_style_is_flagged_by_the_image_row_alone(labels, monkeypatch):
    monkeypatch.setattr(permutation, "PERMUTATIONS", 99)  # p of .01, .03 as the least of three
    rows = found(pairs(labels, np.zeros(N)), labels)
    assert rows["blind_image"].auroc > 0.95
    assert rows["blind_both"].auroc > 0.9
    assert holm({name: row.p_value for name, row in rows.items()}) == ["blind_image", "blind_both"]
    assert rows["blind_caption"].p_value > 0.05


@pytest.mark.long
def test_a_shift_in_captions_is_flagged_by_the_caption_row_alone(labels):
    rows = found(pairs(np.zeros(N), labels), labels)
    assert rows["blind_caption"].auroc > 0.95
    assert rows["blind_image"].p_value > 0.05


@pytest.mark.long
def test_nothing_is_found_where_labels_are_random(labels):
    rows = found(pairs(np.arange(N) % 2, np.arange(N) % 3 == 0), labels)
    assert holm({name: row.p_value for name, row in rows.items()}) == []


def test_cross_fitting_does_not_learn_the_rows_it_scores(labels, monkeypatch):
    """Pure noise, many features: in-sample the classifier would be near 1.0."""
    monkeypatch.setattr(permutation, "PERMUTATIONS", 9)  # no p-value is looked at
    rows = found(pairs(np.zeros(N), np.zeros(N), seed=5), labels)
    for row in rows.values():
        assert abs(row.auroc - 0.5) < 0.17  # three standard errors at 60 + 60


def test_statistics_see_size_and_colour():
    white = Item("a:1", "", "", lambda _: Image.new("RGB", (8, 8), "white"))
    red = Item("a:2", "", "", lambda _: Image.new("RGB", (16, 8), "red"))
    one, two = image_statistics([white, red], 16)
    assert one[:3] == pytest.approx([1, 1, 1])
    assert two[:3] == pytest.approx([1, 0, 0])
    assert len(one) == len(two)


@pytest.fixture(scope="module")
def tiny_clip(tmp_path_factory) -> str:
    """A random open_clip model in a folder, as `open_clip` itself saves one."""
    return small_open_clip(tmp_path_factory.mktemp("clip"))


def test_images_can_be_seen_through_open_clip(labels, tiny_clip, monkeypatch):
    monkeypatch.setattr(permutation, "PERMUTATIONS", 9)
    items = pairs(labels, np.zeros(N))
    width = image_embeddings(items[:40], 16, tiny_clip)
    assert width.shape == (40, 16)
    assert np.isfinite(width).all()
    alone = image_embeddings(items[37:38], 16, tiny_clip)
    np.testing.assert_allclose(alone[0], width[37], rtol=1e-3, atol=1e-4)
    rows = {r.name: r for r in blind_rows(items, labels, group(), 16, 0, tiny_clip)}
    assert rows["blind_image"].auroc > 0.95
    assert rows["blind_image"].p_value == 0.1
    plain = found(items, labels)
    assert (rows["blind_image"].scores != plain["blind_image"].scores).any()
    assert rows["blind_caption"].auroc == plain["blind_caption"].auroc


@pytest.mark.long
def test_a_word_inside_a_caption_without_spaces_is_seen(labels):
    """Every caption is one run of letters, and members' hold one character more often."""
    rng = np.random.default_rng(3)
    items = []
    for plain, is_member in zip(pairs(np.zeros(N), np.zeros(N)), labels, strict=True):
        text = [*rng.choice(list("山水天地人木火土金石"), 5), "猫" if is_member else "犬"]
        caption = "".join(rng.permutation(text))
        items.append(Item(plain.sample_id, caption, plain.name, plain.load))
    rows = found(items, labels)
    assert rows["blind_caption"].auroc > 0.9
    assert rows["blind_image"].p_value > 0.05


@pytest.mark.parametrize(
    ("caption", "words"),
    [
        ("a red-brown cat, no. 7", ["a", "red", "brown", "cat", "no", "7"]),
        ("一只猫。a red-brown cat", ["一", "只", "猫", "a", "red", "brown", "cat"]),
        ("ที่นี่", ["ที่", "นี่"]),
    ],
)
def test_captions_as_words(caption, words):
    assert caption_words(caption) == words
