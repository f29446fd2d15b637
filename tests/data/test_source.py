import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from mia_bench.data.source import Item, Listing, fingerprint, listing, sample_id
from mia_bench.utils.text import printable


def blank(resolution: int) -> Image.Image:
    return Image.new("RGB", (resolution, resolution))


def item(id_: str, caption: str = "a cat", name: str = "cat.png") -> Item:
    return Item(id_, caption, name, blank)


def test_sample_id_is_the_source_and_twelve_digits_of_b2sum() -> None:
    # `printf 'cat' | b2sum`
    assert sample_id("openmoji", b"cat") == "openmoji:06b059c01120"


def test_captions_and_names_lose_control_characters_only() -> None:
    made = item("x:1", caption="a\0b\nc\x1b[31m — é👨‍🔬\ud800", name="../\x07ré.png")
    assert made.caption == "a b c [31m — é👨‍🔬 "
    assert made.name == "../ ré.png"
    assert printable("plain text") == "plain text"


def test_copies_are_merged_and_the_first_name_is_kept() -> None:
    rows = [item("x:2", name="b"), item("x:1", "apple", "c"), item("x:1", "zebra", "a")]
    for order in (rows, rows[::-1]):
        made = listing(order)
        assert [(i.name, i.caption) for i in made.items] == [("a", "zebra"), ("b", "a cat")]
        assert made.duplicates == 1


def test_fingerprint_sees_ids_and_captions_and_nothing_else() -> None:
    one, two = item("x:1"), item("x:2")
    base = fingerprint(Listing((one, two)))
    assert fingerprint(Listing((two, item("x:1", name="renamed")))) == base
    assert fingerprint(Listing((one, item("x:2", "a dog")))) != base
    assert fingerprint(Listing((one, item("x:3")))) != base
    assert fingerprint(Listing((one,))) != base


@pytest.mark.parametrize(
    "module", ["source", "openmoji", "split.near_duplicates", "split.manifest"]
)
def test_importing_the_data_part_does_not_import_torch(module: str) -> None:
    code = f"import sys, mia_bench.data.{module}; sys.exit('torch' in sys.modules)"
    root = Path(__file__).parents[2]
    assert subprocess.run([sys.executable, "-c", code], cwd=root, check=False).returncode == 0
