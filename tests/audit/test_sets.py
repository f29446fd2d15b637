"""Two sets before a model is asked: overlaps, near-duplicates, unreadable files, differences."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from album import make_album
from PIL import Image, ImageFile

from mia_bench.audit.sets import compare_sets, differences
from mia_bench.data.folders import MEMBER, NONMEMBER, Folders
from mia_bench.data.pictures import image_file


@pytest.fixture
def sets(tmp_path):
    """compare(**options) of two folders of six pictures, which may be changed before."""
    folders = {MEMBER: tmp_path / "a", NONMEMBER: tmp_path / "b"}
    for folder, first in zip(folders.values(), (0, 300), strict=True):
        folder.mkdir()
        make_album(folder, 6, first=first)

    def compare(variants: bool = False):
        source = Folders(str(folders[MEMBER]), str(folders[NONMEMBER]))
        return compare_sets(source.items(), folders, variants)

    return folders[MEMBER], folders[NONMEMBER], compare


def test_two_sets_without_anything_in_common(sets):
    *_, compare = sets
    compared = compare()
    assert compared.counts == compared.groups == (6, 6)
    assert (compared.overlaps, compared.unreadable, compared.repeated) == ((), (), (0, 0))
    assert differences(compared, 0) == []


def test_a_picture_in_both_sets_is_named_and_left_out(sets):
    first, second, compare = sets
    shutil.copy(first / "p000.png", second / "copy.png")
    with Image.open(first / "p001.png") as picture:
        picture.convert("RGB").save(second / "again.jpg", quality=95)
    compared = compare()
    assert compared.counts == (4, 6)
    assert any("(in both)" in words for words in compared.overlaps)
    assert "again.jpg = p001.png" in compared.overlaps


def test_variants_may_resemble_the_published(sets):
    first, second, compare = sets
    with Image.open(first / "p001.png") as picture:
        picture.convert("RGB").save(second / "again.jpg", quality=95)
    assert compare(variants=True).counts == (6, 7)


def test_near_duplicates_inside_a_set_stay_and_count_once(sets):
    first, _, compare = sets
    for i in range(4):
        with Image.open(first / "p001.png") as picture:
            picture.convert("RGB").save(first / f"again{i}.jpg", quality=90 + i)
    compared = compare()
    assert compared.counts == (10, 6)
    assert compared.groups == (6, 6)
    assert compared.repeated == (4, 0)


def test_unreadable_files_are_named(sets):
    first, _, compare = sets
    (first / "broken.png").write_bytes(b"\x89PNG nothing")
    (first / "empty.jpg").write_bytes(b"")
    compared = compare()
    assert {skip.name for skip in compared.unreadable} == {"broken.png", "empty.jpg"}
    assert compared.counts == (6, 6)


@pytest.mark.parametrize(
    ("change", "fact"),
    [
        (lambda p: p.resize((40, 40)), "size"),
        (lambda p: p, "format"),
    ],
)
def test_other_files_are_a_difference_with_figures(sets, change, fact):
    _, second, compare = sets
    for path in sorted(second.glob("*.png")):
        with Image.open(path) as picture:
            changed = change(picture.convert("RGB"))
        path.unlink()
        changed.save(path.with_suffix(".jpg" if fact == "format" else ".png"), quality=99)
    found = {difference.fact: difference for difference in differences(compare(), 0)}
    assert found[fact].p_value < 0.01
    assert found[fact].first != found[fact].second


def test_jpeg_quality_is_read_from_its_tables(sets):
    first, second, compare = sets
    for folder, quality in ((first, 95), (second, 60)):
        for path in sorted(folder.glob("*.png")):
            with Image.open(path) as picture:
                picture.convert("RGB").save(path.with_suffix(".jpg"), quality=quality)
            path.unlink()
    compared = compare()
    by_folder = {MEMBER: 95, NONMEMBER: 60}
    for item in compared.items:
        assert compared.facts[item.sample_id].quality == pytest.approx(by_folder[item.pool], abs=1)
    (quality,) = (d for d in differences(compared, 0) if d.fact == "JPEG quality")
    assert "95" in quality.first
    assert "60" in quality.second
    assert quality.p_value < 0.01


def test_content_follows_pictures_captions_and_sides(sets):
    first, second, compare = sets
    before = compare().content
    assert compare().content == before
    Path(first / "p000.png").rename(second / "p000.png")
    assert compare().content != before


@pytest.mark.parametrize(
    ("package", "ending", "kind"), [("pillow_heif", "heic", "HEIF"), ("pillow_jxl", "jxl", "JXL")]
)
def test_formats_of_installed_extras_are_compared(sets, package, ending, kind):
    pytest.importorskip(package, reason="of the extra formats")
    _, second, compare = sets
    compare()  # opens pictures, and with that registers the extras
    for path in sorted(second.glob("*.png")):
        with Image.open(path) as picture:
            picture.convert("RGB").save(path.with_suffix(f".{ending}"))
        path.unlink()
    compared = compare()
    assert len(compared.facts) == 12
    (form,) = (d for d in differences(compared, 0) if d.fact == "format")
    assert (form.first, form.second) == ("6 PNG", f"6 {kind}")
    assert form.p_value < 0.01


def test_a_format_that_a_plugin_adds_is_compared(sets, monkeypatch):
    """As HEIF and JPEG XL are, without their packages: a toy decoder under one of their names."""
    _, second, compare = sets
    start = b"\xff\x0a"
    monkeypatch.setitem(Image.OPEN, "JXL", (_ToyFile, lambda prefix: prefix.startswith(start)))
    monkeypatch.setattr(Image, "ID", [*Image.ID, "JXL"])
    image_file.formats.cache_clear()
    for path in sorted(second.glob("*.png")):
        with Image.open(path) as picture:
            pixels = picture.convert("RGB").resize((64, 64)).tobytes()
        path.with_suffix(".jxl").write_bytes(start + pixels)
        path.unlink()
    try:
        compared = compare()
    finally:
        image_file.formats.cache_clear()
    assert len(compared.facts) == 12
    (form,) = (d for d in differences(compared, 0) if d.fact == "format")
    assert (form.first, form.second) == ("6 PNG", "6 JXL")


class _ToyFile(ImageFile.ImageFile):
    """64 x 64 raw pixels after two bytes."""

    format = "JXL"

    def _open(self) -> None:
        self._size, self._mode = (64, 64), "RGB"
        self.tile = [ImageFile._Tile("raw", (0, 0, 64, 64), 2, ("RGB", 0, 1))]
