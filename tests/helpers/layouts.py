"""Every layout of pictures and captions that is read, small, in the words of docs/data.md."""

from __future__ import annotations

import csv
import io
import json
import tarfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from corpus import encode, picture
from miniature import pictures, plain_table, write

N = 4
TEXTS = tuple(f"a thing, number {i}, on a table" for i in range(N))
NAMES = tuple(f"{i}.png" for i in range(N))


@dataclass(frozen=True)
class Layout:
    """A folder as people have it; `options` are those of data.source that it needs."""

    name: str
    data: str
    files: str
    build: Callable[[Path], None]
    options: dict[str, Any] = field(default_factory=dict)


def _pictures(root: Path, kind: str = "png", folder: str = "") -> None:
    for i in range(N):
        form = {"png": "PNG", "jpg": "JPEG"}[kind]
        write(root / folder / f"{i}.{kind}", encode(picture(i), form))


def _rows(file_name: str = "file_name", text: str = "text") -> list[dict[str, str]]:
    return [{file_name: n, text: t} for n, t in zip(NAMES, TEXTS, strict=True)]


def _separated(rows: list[dict[str, str]], delimiter: str = ",") -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, rows[0].keys(), delimiter=delimiter)
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _with(name: str, content: Callable[[], str]) -> Callable[[Path], None]:
    def build(root: Path) -> None:
        _pictures(root)
        write(root / name, content())

    return build


def _jsonl(**columns: str) -> str:
    return "\n".join(map(json.dumps, _rows(**columns)))


def _metadata_parquet(root: Path) -> None:
    _pictures(root)
    plain_table(root / "metadata.parquet", file_name=list(NAMES), text=list(TEXTS))


def _sidecars(ending: str) -> Callable[[Path], None]:
    def build(root: Path) -> None:
        _pictures(root)
        for i, text in enumerate(TEXTS):
            write(root / f"{i}{ending}", f"{text}\n")

    return build


def _coco_json(root: Path) -> None:
    _pictures(root)
    images = [{"id": i, "file_name": name} for i, name in enumerate(NAMES)]
    notes = [{"id": i, "image_id": i, "caption": text} for i, text in enumerate(TEXTS)]
    write(root / "captions.json", json.dumps({"images": images, "annotations": notes}))


def _saved(root: Path, splits: bool = False) -> None:
    import datasets

    def made(rows: range) -> Any:
        columns = {"image": pictures(N), "text": list(TEXTS)}
        features = {"image": datasets.Image(), "text": datasets.Value("string")}
        whole = datasets.Dataset.from_dict(columns, features=datasets.Features(features))
        return whole.select(rows)

    root.mkdir(parents=True, exist_ok=True)
    if splits:
        parts = {"train": made(range(2)), "test": made(range(2, N))}
        datasets.DatasetDict(parts).save_to_disk(str(root))
    else:
        made(range(N)).save_to_disk(str(root))


def _shards(root: Path) -> None:
    root.mkdir(parents=True, exist_ok=True)
    for shard in range(2):
        with tarfile.open(root / f"{shard:05d}.tar", "w") as archive:
            for i in range(2 * shard, 2 * shard + 2):
                _put(archive, f"{i:09d}.jpg", encode(picture(i), "JPEG"))
                _put(archive, f"{i:09d}.txt", TEXTS[i].encode())
                _put(archive, f"{i:09d}.json", json.dumps({"url": f"https://a/{i}"}).encode())
        plain_table(root / f"{shard:05d}.parquet", url=["a", "b"], caption=["x", "y"])
        write(root / f"{shard:05d}_stats.json", "{}")


def _put(archive: tarfile.TarFile, name: str, data: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(data)
    archive.addfile(member, io.BytesIO(data))


def _img2dataset_parquet(root: Path) -> None:
    plain_table(
        root / "00000.parquet",
        jpg=[encode(picture(i), "JPEG") for i in range(N)],
        caption=list(TEXTS),
        url=["https://a"] * N,
        status=["success"] * N,
    )


def _img2dataset_files(root: Path) -> None:
    _pictures(root, "jpg", "00000")
    for i, text in enumerate(TEXTS):
        write(root / "00000" / f"{i}.txt", text)
        write(root / "00000" / f"{i}.json", json.dumps({"caption": text}))
    plain_table(root / "00000.parquet", url=["a"] * N, caption=["x"] * N)


def _table(**columns: str) -> Callable[[Path], None]:
    def build(root: Path) -> None:
        image, text = columns.get("image", "image"), columns.get("text", "text")
        plain_table(root / "a.parquet", **{image: pictures(N), text: list(TEXTS)})

    return build


def _flickr8k(name: str, line: str, header: str = "") -> Callable[[Path], None]:
    def build(root: Path) -> None:
        _pictures(root, "jpg", "Images")
        lines = [line.format(name=f"{i}.jpg", text=text) for i, text in enumerate(TEXTS)]
        write(root / name, "\n".join([header] * bool(header) + lines))

    return build


def _linked(root: Path) -> None:
    elsewhere = root.with_name(f"{root.name} elsewhere")
    _with("metadata.jsonl", _jsonl)(elsewhere)
    root.mkdir(parents=True)
    (root / "linked").symlink_to(elsewhere)


def _stems(root: Path) -> None:
    content = {str(i): {"caption": text, "tags": "a, b"} for i, text in enumerate(TEXTS)}
    _with("metadata.json", lambda: json.dumps(content))(root)


FOLDER, PARQUET, FLICKR = "imagefolder", "parquet", "flickr"
PROMPT = {"caption": "prompt"}
LAYOUTS = (
    Layout(
        "metadata.jsonl",
        FOLDER,
        "pictures, `file_name` and `text`",
        _with("metadata.jsonl", _jsonl),
    ),
    Layout(
        "metadata.csv",
        FOLDER,
        "the same; captions with commas in quotes",
        _with("metadata.csv", lambda: _separated(_rows())),
    ),
    Layout(
        "metadata.tsv",
        FOLDER,
        "the same, separated by tabs",
        _with("metadata.tsv", lambda: _separated(_rows(), "\t")),
    ),
    Layout("metadata.parquet", FOLDER, "the same, in parquet", _metadata_parquet),
    Layout("metadata.json", FOLDER, "an entry with columns for each name (kohya)", _stems),
    Layout(
        "image and prompt",
        FOLDER,
        "metadata.jsonl with `image` and `prompt`",
        _with("metadata.jsonl", lambda: _jsonl(file_name="image", text="prompt")),
    ),
    Layout(
        "caption=prompt",
        FOLDER,
        "a column of captions that is named",
        _with("metadata.jsonl", lambda: _jsonl(text="prompt")),
        PROMPT,
    ),
    Layout(
        "captions.json",
        FOLDER,
        "pictures, a caption (or a list) for each name",
        _with("captions.json", lambda: json.dumps(dict(zip(NAMES, TEXTS, strict=True)))),
    ),
    Layout("captions.json of COCO", FOLDER, "pictures, `images` and `annotations`", _coco_json),
    Layout(
        "captions.csv",
        FOLDER,
        "pictures, `image` and `caption`",
        _with("captions.csv", lambda: _separated(_rows("image", "caption"))),
    ),
    Layout(
        ".txt", FOLDER, "a text file beside each picture, one caption a line", _sidecars(".txt")
    ),
    Layout(".TXT", FOLDER, "the same, in capitals", _sidecars(".TXT")),
    Layout(".caption", FOLDER, "the same, as trainers name it", _sidecars(".caption")),
    Layout(
        "linked folder", FOLDER, "links, when they are allowed", _linked, {"follow_links": True}
    ),
    Layout("save_to_disk", FOLDER, "a folder that `datasets` saved", _saved),
    Layout(
        "save_to_disk in splits",
        FOLDER,
        "the same, of a DatasetDict: every split",
        lambda root: _saved(root, True),
    ),
    Layout("WebDataset", FOLDER, "tar archives of `.jpg`, `.txt` and `.json`", _shards),
    Layout(
        "img2dataset files",
        FOLDER,
        "pictures with `.txt`, tables of addresses",
        _img2dataset_files,
    ),
    Layout("parquet", PARQUET, "`image` (bytes, or bytes and path) and `text`", _table()),
    Layout("parquet of prompts", PARQUET, "`image` and `prompt`", _table(text="prompt")),
    Layout(
        "parquet, named",
        PARQUET,
        "columns that are named",
        _table(image="photo", text="prompt"),
        {"image": "photo", **PROMPT},
    ),
    Layout("img2dataset parquet", PARQUET, "`jpg` and `caption`", _img2dataset_parquet),
    Layout("parquet in a folder", FOLDER, "parquet alone in an image folder", _table()),
    Layout("saved, as parquet", PARQUET, "a folder that `datasets` saved", _saved),
    Layout(
        "Flickr8k.token.txt",
        FLICKR,
        "Flickr8k as released",
        _flickr8k("Flickr8k.token.txt", "{name}#0\t{text}"),
    ),
    Layout(
        "captions.txt",
        FLICKR,
        "Flickr8k as Kaggle has it",
        _flickr8k("captions.txt", '{name},"{text}"', "image,caption"),
    ),
)


@dataclass(frozen=True)
class SplitFile:
    """A file for data.split: rows 0 to 9 of the album are members, 10 to 19 are not."""

    name: str
    what: str
    content: Callable[[], str | bytes]


def _npz() -> bytes:
    import numpy as np

    buffer = io.BytesIO()
    np.savez(buffer, mia_train_idxs=np.arange(10), mia_eval_idxs=np.arange(10, 20))
    return buffer.getvalue()


def _told(column: str, yes: Any, no: Any, name: str = "name") -> list[dict[str, Any]]:
    return [{name: f"p{i:03d}.png", column: yes if i < 10 else no} for i in range(20)]


SPLIT_FILES = (
    SplitFile("s.csv", "`name` and `is_member`", lambda: _separated(_told("is_member", 1, 0))),
    SplitFile("s.tsv", "the same, by tabs", lambda: _separated(_told("is_member", 1, 0), "\t")),
    SplitFile(
        "words.csv", "`split`: train or test", lambda: _separated(_told("split", "train", "test"))
    ),
    SplitFile(
        "member.jsonl",
        "`member`: member or nonmember",
        lambda: "\n".join(map(json.dumps, _told("member", "member", "nonmember"))),
    ),
    SplitFile(
        "roles.json",
        "`role`: one of the five",
        lambda: json.dumps(_told("role", "target_member", "target_nonmember")),
    ),
    SplitFile(
        "lists.json",
        "lists of names, `train` and `test`",
        lambda: json.dumps(
            {
                word: [row["name"] for row in _told("w", 1, 0) if row["w"] == value]
                for word, value in (("train", 1), ("test", 0))
            }
        ),
    ),
    SplitFile(
        "names.json",
        "the word of each name",
        lambda: json.dumps({row["name"]: row["w"] for row in _told("w", "member", "nonmember")}),
    ),
    SplitFile(
        "stems.csv",
        "names without their ending",
        lambda: _separated(_told("is_member", "true", "false")).replace(".png", ""),
    ),
    SplitFile(
        "list.txt",
        "members' names, one a line; others are none",
        lambda: "\n".join(f"p{i:03d}.png" for i in range(10)),
    ),
    SplitFile(
        "idx.npz",
        "positions by name, from 0: `mia_train_idxs` and `mia_eval_idxs`, or "
        "`members` and `nonmembers`",
        _npz,
    ),
)
