"""Miniature data sets in the layouts that the real ones have."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from corpus import encode, picture

SVG = (
    '<svg xmlns="http://www.w3.org/2000/svg" width="400pt" height="200pt" viewBox="0 0 40 20">'
    '<rect width="40" height="20" fill="red"/>{}</svg>'
)
METADATA = (
    '<metadata><rdf:RDF xmlns:rdf="r" xmlns:dc="d"><dc:title>{title}</dc:title>'
    "<dc:subject><rdf:Bag>{tags}</rdf:Bag></dc:subject><dc:creator><dc:title>Somebody</dc:title>"
    "</dc:creator></rdf:RDF></metadata>"
)


def write(path: Path, data: bytes | str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data if isinstance(data, bytes) else data.encode())
    return path


def clipart(root: Path, name: str, seed: int, title: str, *tags: str) -> None:
    """One drawing of openclipart: a PNG and the SVG with its metadata."""
    write(root / "png" / f"{name}.png", encode(picture(seed)))
    items = "".join(f"<rdf:li>{tag}</rdf:li>" for tag in tags)
    write(root / "svg" / f"{name}.svg", SVG.format(METADATA.format(title=title, tags=items)))


def coco(root: Path, pool: str, n: int, first: int = 0) -> list[str]:
    """`n` pictures of `pool` in COCO's official layout, with two captions each; their names."""
    names = [f"{first + i:012d}.jpg" for i in range(n)]
    for i, name in enumerate(names):
        write(root / pool / name, encode(picture(first + i), "JPEG"))
    notes = [
        {"id": 10 * (first + i) + k, "image_id": first + i, "caption": caption(first + i, k)}
        for k in (1, 0)
        for i in range(n)
    ]
    images = [{"id": first + i, "file_name": name, "width": 24} for i, name in enumerate(names)]
    about = {"info": {}, "images": images, "annotations": notes, "licenses": []}
    write(root / "annotations" / f"captions_{pool}.json", json.dumps(about))
    return names


def caption(i: int, k: int = 0) -> str:
    return f"picture {i} of a thing" if k == 0 else f"another and longer description of picture {i}"


def table(path: Path, **columns: list[Any]) -> Path:
    """A parquet file as the hub writes it: pictures are structs of bytes and path."""
    import datasets

    path.parent.mkdir(parents=True, exist_ok=True)
    features = {name: _feature(values) for name, values in columns.items()}
    made = datasets.Dataset.from_dict(columns, features=datasets.Features(features))
    made.to_parquet(str(path))
    return path


def plain_table(path: Path, **columns: list[Any]) -> Path:
    """A parquet file as pyarrow writes it, with raw bytes and no word about features."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), path)
    return path


def pictures(n: int, first: int = 0) -> list[dict[str, Any]]:
    return [
        {"bytes": encode(picture(first + i)), "path": f"{first + i:012d}.jpg"} for i in range(n)
    ]


def _feature(values: list[Any]) -> Any:
    import datasets

    if isinstance(values[0], dict):
        return datasets.Image(decode=False)
    if isinstance(values[0], list):
        return datasets.List(datasets.Value("string"))
    return datasets.Value("int64" if isinstance(values[0], int) else "string")
