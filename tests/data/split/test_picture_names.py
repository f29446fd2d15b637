"""Rows of a table find their picture by id or by name, with more folders or fewer than it has."""

from __future__ import annotations

import pytest

from mia_bench.data.source import Item, Listing
from mia_bench.data.split.picture_names import PictureNames, finder
from mia_bench.utils.errors import MiaError


def listed(*names: str) -> Listing:
    return Listing(tuple(Item(f"x:{name}", "", name, lambda _: None) for name in names))


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("a/1/image.png", "a/1/image.png"),
        ("1/image.png", "a/1/image.png"),
        ("data/./a/1/image.png", "a/1/image.png"),
        ("a\\1\\image.png", "a/1/image.png"),
        ("b/1/image.png", None),
        ("cat", "cat.png"),
        ("photos/cat.png", "cat.png"),
        ("12.0", "12.png"),
        ("2/other.png", None),
    ],
)
def test_one_folder_is_the_end_of_the_other(name, found):
    find = finder(listed("a/1/image.png", "a/2/image.png", "cat.png", "12.png"))
    item = find({"name": name})
    assert (item and item.name) == found


def test_a_name_of_several_pictures_is_refused():
    find = finder(listed("a/1/image.png", "b/1/image.png"))
    with pytest.raises(MiaError, match=r"'1/image.png' is the name of 2 pictures .* a/1/image"):
        find({"name": "1/image.png"})
    assert find({"sample_id": "x:b/1/image.png"}).name == "b/1/image.png"


def test_pictures_that_are_called_alike_are_not_compared_one_by_one():
    """A table of 100,000 names would compare ten thousand million pairs."""
    items = listed(*(f"{i}/image.png" for i in range(50))).items
    names = PictureNames(items, lambda base: base)
    assert names.positions("data/7/image.png") == [7]
    assert len(names.positions("image.png")) == 50
    looked_up = []

    class Counted(dict):
        def get(self, key, default=None):
            looked_up.append(key)
            return super().get(key, default)

    names._ends, names._whole = Counted(names._ends), Counted(names._whole)
    names.positions("data/7/image.png")
    assert len(looked_up) == 4
