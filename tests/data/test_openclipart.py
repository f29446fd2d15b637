from pathlib import Path

import pytest
from miniature import clipart

from mia_bench.data.openclipart import OpenClipart
from mia_bench.utils.errors import Missing


@pytest.fixture
def root(tmp_path: Path) -> Path:
    clipart(tmp_path, "buildings/school_01", 0, "school (country)", "building", "", "education")
    clipart(
        tmp_path,
        "people/smilies/smiley_happy_07",
        1,
        "Clipart by Nicu Buculei - smiley111",
        "people",
    )
    clipart(tmp_path, "people/a", 2, "Tom &amp; Jerry", "hash(0x862bbb8)", "cat", "mouse_hole", "4")
    clipart(tmp_path, "people/cat", 3, "Cat", "cat", "animal")
    clipart(tmp_path, "people/lady", 4, "Sexy Lady")
    clipart(tmp_path, "logos/brand", 5, "Brand")
    clipart(
        tmp_path, "computer/icons/flat-theme/action/away", 6, "Part of the Flat Icon Collection"
    )
    clipart(tmp_path, "shapes/stars/star_1", 7, "gramastar")
    (tmp_path / "png/people/linked.png").symlink_to(tmp_path / "png/people/cat.png")
    return tmp_path


def test_captions_are_title_and_tags(root: Path) -> None:
    made = OpenClipart(str(root)).items()
    assert {item.name: item.caption for item in made.items} == {
        "buildings/school_01.png": "school (country), building, education",
        "people/smilies/smiley_happy_07.png": "smiley happy, people",
        "people/a.png": "Tom & Jerry, cat, mouse hole",
        "people/cat.png": "Cat, animal",
    }


def test_marks_icons_series_and_risque_drawings_are_left_out(root: Path) -> None:
    made = OpenClipart(str(root)).items()
    assert {skip.name: skip.reason for skip in made.skipped} == {
        "people/lady.png": "risqué",
        "logos/brand.png": "logo",
        "computer/icons/flat-theme/action/away.png": "theme icon",
        "shapes/stars/star_1.png": "generated star",
        "people/linked.png": "link to another drawing",
    }
    assert not any(skip.broken for skip in made.skipped)


def test_tags_can_be_left_away_and_metadata_may_be_missing(root: Path) -> None:
    (root / "svg/people/cat.svg").unlink()
    said = {item.name: item.caption for item in OpenClipart(str(root), tags=0).items().items}
    assert said["buildings/school_01.png"] == "school (country)"
    assert said["people/cat.png"] == "cat"


def test_without_the_packages_the_message_names_them(tmp_path: Path) -> None:
    with pytest.raises(Missing, match=r"apt-get install openclipart-png openclipart-svg"):
        OpenClipart(str(tmp_path)).items()
