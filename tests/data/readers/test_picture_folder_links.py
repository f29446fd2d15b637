"""What stands where a table or a text file should: links out, folders, pipes, devices."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from corpus import encode, picture
from miniature import write

from mia_bench.data.imagefolder import ImageFolder
from mia_bench.data.parquet import Parquet
from mia_bench.data.source import Listing
from mia_bench.data.split.published import read_table
from mia_bench.utils.errors import MiaError


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name in ("a", "b"):
        write(tmp_path / f"album/{name}.png", encode(picture(ord(name))))
        write(tmp_path / f"album/{name}.txt", f"caption {name}")
    return tmp_path / "album"


def captions(listing: Listing) -> dict[str, str]:
    return {item.name: item.caption for item in listing.items}


def skips(listing: Listing) -> dict[str, str]:
    return {skip.name: skip.reason for skip in listing.skipped}


def test_a_text_file_that_leads_out_of_the_folder_is_no_caption(root: Path) -> None:
    write(root.parent / "secret", "a secret")
    (root / "a.txt").unlink()
    (root / "a.txt").symlink_to(root.parent / "secret")
    listing = ImageFolder(str(root)).items()
    assert captions(listing) == {"b.png": "caption b"}
    assert skips(listing) == {"a.txt": "leads out of the folder", "a.png": "no caption"}
    allowed = ImageFolder(str(root), follow_links=True).items()
    assert captions(allowed)["a.png"] == "a secret"


def test_a_table_that_leads_out_of_the_folder_is_refused_with_the_key(root: Path) -> None:
    write(root.parent / "other.csv", "file_name,text\na.png,of the table\n")
    (root / "metadata.csv").symlink_to(root.parent / "other.csv")
    with pytest.raises(MiaError, match=r"metadata\.csv is a link .*follow_links=true"):
        ImageFolder(str(root)).items()
    allowed = ImageFolder(str(root), follow_links=True).items()
    assert captions(allowed)["a.png"] == "of the table"


def test_a_folder_by_the_name_of_a_table_is_counted(root: Path) -> None:
    (root / "metadata.csv").mkdir()
    listing = ImageFolder(str(root)).items()
    assert (len(listing.items), skips(listing)) == (2, {"metadata.csv": "a folder, and no table"})


@pytest.mark.parametrize(
    "name", ["metadata.csv", "captions.json", "metadata.parquet", "saved/state.json"]
)
def test_a_pipe_by_the_name_of_a_table_ends_in_a_message(name: str, root: Path) -> None:
    (root / name).parent.mkdir(exist_ok=True)
    os.mkfifo(root / name)
    with pytest.raises(MiaError, match=f"{Path(name).name}.*it is no regular file"):
        ImageFolder(str(root)).items()


def test_a_pipe_by_the_name_of_a_text_file_is_skipped(root: Path) -> None:
    (root / "a.txt").unlink()
    os.mkfifo(root / "a.txt")
    listing = ImageFolder(str(root)).items()
    assert (list(captions(listing)), skips(listing)["a.txt"]) == (["b.png"], "is not a file")


def test_pipes_and_devices_are_no_tables(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "x.parquet")
    os.mkfifo(tmp_path / "x.csv")
    with pytest.raises(MiaError, match="it is no regular file"):
        Parquet("parquet", "", str(tmp_path)).items()
    for path in (tmp_path / "x.csv", Path("/dev/zero")):
        with pytest.raises(MiaError, match=r"data\.split=.* cannot be read: it is no regular file"):
            read_table(path)


def test_tables_without_pictures_beside_pictures_are_no_parquet_of_pictures(root: Path) -> None:
    import pandas as pd

    rows = {"file_name": ["a.png", "b.png"], "text": ["one", "two"]}
    pd.DataFrame(rows).to_parquet(root / "metadata.parquet")
    listing = Parquet("parquet", "", str(root)).items()
    assert captions(listing) == {"a.png": "one", "b.png": "two"}
