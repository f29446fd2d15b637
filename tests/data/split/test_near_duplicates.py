import sys
from collections import Counter
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from album import make_album
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageDraw

from mia_bench.data.imagefolder import ImageFolder
from mia_bench.data.openmoji import OpenMoji
from mia_bench.data.source import Item, Listing, listing
from mia_bench.data.split import near_duplicates
from mia_bench.data.split.near_duplicates import (
    Hashes,
    group,
    normalise_caption,
    perceptual_hashes,
    require_small_groups,
)
from mia_bench.utils import terminal
from mia_bench.utils.errors import MiaError


def ids(n: int) -> list[str]:
    return [f"x:{i:03d}" for i in range(n)]


def hashes(*values: int) -> Hashes:
    return np.array(values, dtype=np.uint64)


def literal_groups(
    sample_ids: Sequence[str], phash: Hashes, captions: Sequence[str], d: int
) -> list[str]:
    """The definition, spelled out: relabel with the smaller label until nothing changes."""
    labels = list(sample_ids)
    changed = True
    while changed:
        changed = False
        for i, j in combinations(range(len(labels)), 2):
            near = bin(int(phash[i]) ^ int(phash[j])).count("1") <= d
            words = normalise_caption(captions[i])
            same = words != "" and words == normalise_caption(captions[j])
            if (near or same) and labels[i] != labels[j]:
                labels[i] = labels[j] = min(labels[i], labels[j])
                changed = True
    return labels


few_bits = st.lists(st.integers(0, 63), max_size=8).map(lambda bits: sum(1 << b for b in set(bits)))
rows = st.lists(st.tuples(few_bits, st.sampled_from("abcdefgh?")), max_size=20)


@given(rows, st.integers(0, 8), st.integers(1, 40))
def test_groups_are_the_definition(data: list[tuple[int, str]], d: int, cells: int) -> None:
    phash, captions = hashes(*(h for h, _ in data)), [c for _, c in data]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(near_duplicates, "BLOCK_ENTRIES", cells)  # many blocks
        made = group(ids(len(data)), phash, captions, d)
    assert made == literal_groups(ids(len(data)), phash, captions, d)


@pytest.mark.long
@given(rows, st.randoms(use_true_random=False))
def test_groups_do_not_depend_on_the_order(data: list[tuple[int, str]], random: object) -> None:
    names = ids(len(data))
    order = list(range(len(data)))
    random.shuffle(order)  # type: ignore[attr-defined]
    phash, captions = hashes(*(h for h, _ in data)), [c for _, c in data]
    straight = dict(zip(names, group(names, phash, captions), strict=True))
    shuffled_names = [names[i] for i in order]
    shuffled = group(shuffled_names, phash[order], [captions[i] for i in order])
    assert dict(zip(shuffled_names, shuffled, strict=True)) == straight


def test_distance_limit_is_inclusive_and_the_top_bit_counts() -> None:
    six, seven = (1 << 63) | 0b11111, (1 << 63) | 0b111111
    assert group(ids(2), hashes(0, six), ["a", "b"]) == ["x:000", "x:000"]
    assert group(ids(2), hashes(0, seven), ["a", "b"]) == ["x:000", "x:001"]
    assert group(ids(2), hashes(0, seven), ["a", "b"], max_distance=7) == ["x:000", "x:000"]


def test_links_chain() -> None:
    far = (1 << 40) - 1
    assert set(group(ids(4), hashes(0, 0b111111, far, far << 20), ["a", "B!", "b", "c"])) == {
        "x:000",
        "x:003",
    }


@pytest.mark.parametrize("other", ["A red  fox", "a RED fox.", "a-red_fox", "a\xa0ｒed fox"])
def test_captions_are_compared_by_their_words(other: str) -> None:
    assert normalise_caption(other) == normalise_caption("A red fox") == "a red fox"


def test_vowel_signs_are_part_of_a_word() -> None:
    assert normalise_caption("कि") != normalise_caption("की") != ""


def test_captions_without_words_link_nothing() -> None:
    assert normalise_caption("❤️ …") == ""
    far = (1 << 64) - 1
    assert group(ids(2), hashes(0, far), ["?!", "?!"]) == ["x:000", "x:001"]
    assert group(ids(2), hashes(0, far), ["", ""]) == ["x:000", "x:001"]


def test_many_identical_pictures_cost_little() -> None:
    n = 60_000  # pairwise this would be 1.8e9 links
    made = group(ids(n), np.zeros(n, dtype=np.uint64), [""] * n)
    assert set(made) == {"x:000"}


def test_lengths_must_agree() -> None:
    with pytest.raises(ValueError, match="2 ids, 1 hashes, 2 captions"):
        group(ids(2), hashes(0), ["a", "b"])


def scene(resolution: int, shift: int = 0) -> Image.Image:
    image = Image.new("RGB", (resolution, resolution), "white")
    draw = ImageDraw.Draw(image)
    draw.ellipse((8 + shift, 12, 40 + shift, 50), fill="navy")
    draw.rectangle((30, 40 + shift, 60, 60), fill="orange")
    return image


def upside_down(resolution: int) -> Image.Image:
    return scene(resolution).transpose(Image.Transpose.FLIP_TOP_BOTTOM)


def broken(_: int) -> Image.Image:
    raise SyntaxError("broken PNG file\x1b[2J")


def strip(_: int) -> Image.Image:
    return Image.new("RGB", (1000, 1))


def test_hashes_see_looks_and_bad_pictures_are_skipped() -> None:
    made = listing(
        [
            Item("x:a", "one", "1", scene),
            Item("x:b", "two", "2", broken),
            Item("x:c", "three", "3", lambda r: scene(r, shift=1)),
            Item("x:d", "four", "4", strip),
            Item("x:e", "five", "5", upside_down),
        ]
    )
    kept, phash = perceptual_hashes(made)
    assert [item.name for item in kept.items] == ["1", "3", "5"]
    assert phash.dtype == np.uint64
    assert [(skip.name, skip.reason) for skip in kept.skipped] == [
        ("2", "unreadable: SyntaxError: broken PNG file [2J"),
        ("4", "unreadable: 1000x1 px is too elongated to crop to a square"),
    ]
    near, far = np.bitwise_count(phash[0] ^ phash[1:])
    assert near <= near_duplicates.MAX_DISTANCE < far


def test_hash_is_the_library_s() -> None:
    import imagehash

    _, phash = perceptual_hashes(Listing((Item("x:a", "one", "1", scene),)), resolution=64)
    assert f"{int(phash[0]):016x}" == str(imagehash.phash(scene(64)))


def test_a_long_listing_and_a_long_reading_show_how_far_they_are(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    make_album(tmp_path, 3)
    monkeypatch.setattr(terminal, "SILENT_SECONDS", 0.0)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    made = ImageFolder(str(tmp_path)).items()
    assert "listing pictures" in capsys.readouterr().err
    assert len(perceptual_hashes(made)[1]) == 3
    out, err = capsys.readouterr()
    assert out == ""
    assert "reading pictures" in err


def test_a_group_above_the_limit_says_what_to_do() -> None:
    captions = [f"picture {i}" for i in range(100)]
    require_small_groups(["big"] * 5 + ids(95), captions)
    with pytest.raises(MiaError, match=r"holds 6 of 100 rows \(6\.0%.*6 distinct.*'picture 0'"):
        require_small_groups(["big"] * 6 + ids(94), captions)
    with pytest.raises(MiaError, match=r"with 1 distinct caption"):
        require_small_groups(["big"] * 6 + ids(94), ["a photo"] * 100)


def test_few_rows_are_not_a_large_group() -> None:
    require_small_groups([], [])
    require_small_groups(ids(3), ["a", "b", "c"])


def test_openmoji_groups_are_near_duplicates() -> None:
    kept, phash = perceptual_hashes(OpenMoji().items())
    captions = [item.caption for item in kept.items]
    groups = group([item.sample_id for item in kept.items], phash, captions)
    require_small_groups(groups, captions)
    sizes = Counter(groups)
    grouped = sum(size for size in sizes.values() if size > 1) / len(groups)
    assert max(sizes.values()) <= 0.015 * len(groups)
    assert 0.1 < grouped < 0.25
    by_name = {item.name: label for item, label in zip(kept.items, groups, strict=True)}
    blue_heart, green_heart, croissant = "1F499.svg", "1F49A.svg", "1F950.svg"
    assert by_name[blue_heart] == by_name[green_heart] != by_name[croissant]


def test_a_picture_is_hashed_once_in_a_process():
    """A sweep over split seeds divides the same pictures in every job."""
    loads = []

    def load(resolution: int) -> Image.Image:
        loads.append(resolution)
        return Image.new("RGB", (8, 8), "white")

    item = Item("once:0123456789ab", "a caption", "once.png", load)
    hashes = [perceptual_hashes(Listing((item,)))[1].tolist() for _ in range(2)]
    assert hashes[0] == hashes[1]
    assert loads == [64]
