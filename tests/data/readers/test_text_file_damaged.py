"""Captions arrive whole or not at all: csv fields, byte-order marks, files that cannot be read."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from corpus import encode, picture
from miniature import coco, plain_table, write

from mia_bench.data.captions.attacker import from_file
from mia_bench.data.flickr import Flickr
from mia_bench.data.imagefolder import ImageFolder
from mia_bench.data.mscoco import read_coco
from mia_bench.data.parquet import Parquet
from mia_bench.data.readers.text_file import decode_text, text_lines
from mia_bench.data.source import Listing
from mia_bench.utils.errors import MiaError

BOM = b"\xef\xbb\xbf"
NOBODY = 65534  # a user without rights, where the tests are run by root


def folder(root: Path, n: int = 3) -> Path:
    for i in range(n):
        write(root / f"{i}.png", encode(picture(i)))
    return root


def captions(listing: Listing) -> dict[str, str]:
    return {item.name: item.caption for item in listing.items}


@contextmanager
def without_rights() -> Iterator[None]:
    """As a user who may read what everybody may."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


def test_a_csv_line_with_surplus_fields_is_a_skip_and_never_cut(tmp_path: Path) -> None:
    text = 'file_name,text\n0.png,a cat, on a table\n1.png,"a dog, on a mat"\n2.png,a hen\n'
    write(folder(tmp_path) / "metadata.csv", text)
    made = ImageFolder(str(tmp_path)).items()
    assert captions(made) == {"1.png": "a dog, on a mat", "2.png": "a hen"}
    assert {skip.name: skip.reason for skip in made.skipped} == {
        "metadata.csv:2": "3 fields where the header has 2; quote what has commas in it",
        "0.png": "no caption",
    }
    assert all(skip.broken for skip in made.skipped)


def test_a_quote_inside_a_field_is_a_skip_and_not_left_out(tmp_path: Path) -> None:
    write(folder(tmp_path) / "metadata.csv", 'file_name,text\n0.png,"Hi" says a cat\n1.png,a dog\n')
    made = ImageFolder(str(tmp_path)).items()
    assert captions(made) == {"1.png": "a dog"}
    assert any(skip.name == "metadata.csv:2" for skip in made.skipped)


def test_the_attackers_file_with_surplus_fields_is_refused_with_the_line(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text("sample_id,caption\na:1,a cat, on a table\n")
    with pytest.raises(MiaError, match=r"captions=file:.*line 2: 3 fields where the header has 2"):
        from_file(path, {"a:1"})
    path.write_text('sample_id,caption\na:1,"a cat, on a table"\n')
    assert from_file(path, {"a:1"}) == {"a:1": "a cat, on a table"}


@pytest.mark.parametrize("ending", ["csv", "tsv", "jsonl", "json", "parquet"])
def test_the_attackers_file_in_every_kind(ending: str, tmp_path: Path) -> None:
    path, row = tmp_path / f"x.{ending}", {"sample_id": "a:1", "caption": "a cat, on a table"}
    if ending == "parquet":
        plain_table(path, **{name: [value] for name, value in row.items()})
    else:
        text = {
            "csv": 'sample_id,caption\na:1,"a cat, on a table"\n',
            "tsv": "sample_id\tcaption\na:1\ta cat, on a table\n",
            "jsonl": json.dumps(row),
            "json": json.dumps([row]),
        }[ending]
        path.write_bytes(BOM + text.encode())
    assert from_file(path, {"a:1"}) == {"a:1": row["caption"]}


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("name", ["0.txt", "metadata.csv", "metadata.jsonl", "captions.json"])
def test_a_byte_order_mark_is_no_part_of_a_caption(encoding, name, tmp_path: Path) -> None:
    text = {
        "0.txt": "ein Käfer\r\nzwei",
        "metadata.csv": "file_name,text\n0.png,ein Käfer\n",
        "metadata.jsonl": '{"file_name": "0.png", "text": "ein Käfer"}\n',
        "captions.json": '{"0.png": "ein Käfer"}',
    }[name]
    write(folder(tmp_path, 1) / name, text.encode(encoding))
    assert captions(ImageFolder(str(tmp_path)).items()) == {"0.png": "ein Käfer"}


def test_a_byte_order_mark_in_a_table_or_an_annotation(tmp_path: Path) -> None:
    plain_table(tmp_path / "p/a.parquet", image=[encode(picture(0))], text=["\ufeffa cat"])
    assert [*captions(Parquet("p", "", str(tmp_path / "p")).items()).values()] == ["a cat"]
    write(tmp_path / "f/9.jpg", encode(picture(1), "JPEG"))
    write(tmp_path / "f/results_20130124.token", BOM + b"9.jpg#0\ta dog\n")
    assert captions(Flickr(str(tmp_path / "f")).items()) == {"9.jpg": "a dog"}
    coco(tmp_path / "c", "val2017", 1)
    path = tmp_path / "c/annotations/captions_val2017.json"
    path.write_bytes(BOM + path.read_bytes())
    assert len(read_coco(path)) == 1


def test_text_is_decoded_by_its_mark_and_broken_where_editors_break_it() -> None:
    assert decode_text(BOM + "é".encode()) == "é"
    assert decode_text("é".encode("utf-16")) == "é"
    with pytest.raises(ValueError, match="UTF-8"):
        decode_text("é".encode("latin-1"))
    with pytest.raises(ValueError, match="UTF-16"):
        decode_text(b"\xff\xfea")
    assert text_lines("a\r\nb\rc\nd\u2028e") == ["a", "b", "c", "d\u2028e"]


def test_an_unreadable_table_says_so(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    write(folder(tmp_path / "album", 1) / "metadata.csv", "file_name,text\n0.png,a cat\n").chmod(0)
    for above in (tmp_path / "album").parents:
        if not above.stat().st_mode & 0o001 and above != above.parent:
            above.chmod(above.stat().st_mode | 0o055)
    with (
        without_rights(),
        pytest.raises(MiaError, match=r"metadata\.csv cannot be read: Permission"),
    ):
        ImageFolder(str(tmp_path / "album")).items()


def test_an_unreadable_folder_is_counted_and_named(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    for above in tmp_path.parents:
        if not above.stat().st_mode & 0o001 and above != above.parent:
            above.chmod(above.stat().st_mode | 0o055)
    write(folder(tmp_path / "album", 1) / "0.txt", "a cat")
    folder(tmp_path / "album/inside", 2)
    (tmp_path / "album/inside").chmod(0)
    try:
        with without_rights():
            made = ImageFolder(str(tmp_path / "album")).items()
    finally:
        (tmp_path / "album/inside").chmod(0o755)
    assert captions(made) == {"0.png": "a cat"}
    reasons = {skip.name: skip.reason for skip in made.skipped}
    assert reasons == {"inside": "the folder cannot be read: Permission denied"}


def test_a_loop_of_links_is_a_skip(tmp_path: Path) -> None:
    folder(tmp_path, 1)
    write(tmp_path / "0.txt", "a cat")
    (tmp_path / "round.png").symlink_to("round.png")
    write(tmp_path / "round.txt", "a ring")
    (tmp_path / "above").symlink_to(tmp_path)
    made = ImageFolder(str(tmp_path)).items()
    assert captions(made) == {"0.png": "a cat"}
    reasons = {skip.name: skip.reason for skip in made.skipped}
    assert reasons["round.png"] == "a link that leads back to itself"
    assert "data.source.follow_links=true" in reasons["above"]
    followed = ImageFolder(str(tmp_path), follow_links=True).items()
    assert captions(followed) == {"0.png": "a cat"}


def test_a_picture_of_one_pixel_is_named_and_counted(folder_run, tmp_path: Path) -> None:
    from album import make_album
    from PIL import Image
    from splits import split_of

    root = make_album(tmp_path / "album", 70)
    write(root / "dot.png", encode(Image.new("RGB", (1, 1))))
    write(root / "dot.txt", "a dot")
    write(root / "line.png", encode(Image.new("RGB", (1, 50))))
    write(root / "line.txt", "a line")
    _, split, _ = split_of(folder_run(outputs=tmp_path / "out", root=root), tmp_path / "out")
    reasons = {skip.name: skip.reason for skip in split.skipped}
    assert reasons == {
        "dot.png": "unreadable: 1x1 px is no picture (at least 2 px a side)",
        "line.png": "unreadable: 1x50 px is no picture (at least 2 px a side)",
    }
    assert "70 of 72 pairs can be used" in split.summary()


def test_wide_characters_without_their_mark_are_no_caption(tmp_path: Path) -> None:
    """Their zero bytes would become blanks: "a   c a t"."""
    with pytest.raises(ValueError, match="UTF-16 without its mark"):
        decode_text("a cat".encode("utf-16-le"))
    folder(tmp_path, 2)
    write(tmp_path / "0.txt", "a cat".encode("utf-16-le"))
    write(tmp_path / "1.txt", "a dog")
    made = ImageFolder(str(tmp_path)).items()
    assert [item.caption for item in made.items] == ["a dog"]
    assert [(skip.name, skip.broken) for skip in made.skipped] == [("0.png", True)]
