"""CelebA (Liu et al. 2015): 202,599 aligned faces of 178 x 218 px, without captions.

Read are the folder `img_align_celeba`, in which Kaggle's copy holds another of the same name, with
its authors' partition, and the hub's parquet files whose names begin with train, valid and test.
From each the square of 140 px around the centre is taken, as released attacks on DDPMs do.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import ClassVar

from PIL import Image

from mia_bench.data.readers.tables import read_lines
from mia_bench.data.readers.text_file import decode_text, read_file, text_lines
from mia_bench.data.source import Listing
from mia_bench.data.uncaptioned.official import (
    Picture,
    file_pictures,
    official_listing,
    table_pictures,
    tables_of,
)
from mia_bench.utils.errors import MiaError, Missing

NAME = "celeba"
ROWS = {"train": 162_770, "valid": 19_867, "test": 19_962}
FOLDER = "img_align_celeba"
PARTITION = "list_eval_partition"
POOL_OF_NUMBER = {"0": "train", "1": "valid", "2": "test"}
CROP_PIXELS = 140


@dataclass(frozen=True)
class CelebA:
    """Pools `train`, `valid` and `test`, in the order of the pictures' numbers.

    Args:
        root: a folder that holds `img_align_celeba` and its authors' partition
            (`list_eval_partition.txt`, Kaggle's `.csv`), or parquet files, at any depth.
        complete: refuse files that hold fewer pictures than the official ones.
    """

    root: str
    complete: bool = True
    name: ClassVar[str] = NAME
    licence: ClassVar[str] = "non-commercial research (CelebA)"

    def items(self) -> Listing:
        """Every pool. Raises Missing without files, MiaError where pictures are lacking."""
        root = Path(self.root).expanduser()
        folder = next((f for f in _folders(root) if any(f.glob("*.jpg"))), None)
        pools: Mapping[str, Iterable[Picture]]
        if folder is not None:
            pools = _by_partition(folder, _partition(root))
        else:
            tables = {pool: tables_of(root, [pool]) for pool in ROWS}
            if not all(tables.values()):
                raise Missing(_advice(root))
            pools = {pool: table_pictures(pool, files) for pool, files in tables.items()}
        cut = {pool: map(_cropped, pictures) for pool, pictures in pools.items()}
        return official_listing(NAME, cut, ROWS if self.complete else None)


def centre(picture: Image.Image) -> Image.Image:
    """The square of CROP_PIXELS around the centre; a smaller picture stays as it is."""
    left, top = ((side - CROP_PIXELS) // 2 for side in picture.size)
    if min(left, top) < 0:
        return picture
    return picture.crop((left, top, left + CROP_PIXELS, top + CROP_PIXELS))


def _cropped(picture: Picture) -> Picture:
    return replace(picture, load=partial(_load_centre, picture.load))


def _load_centre(load: Callable[[int], Image.Image], resolution: int) -> Image.Image:
    return centre(load(resolution))


def _folders(root: Path) -> Iterator[Path]:
    """Where the aligned pictures may lie; those in the wild lie in another folder."""
    yield from sorted(root.rglob(FOLDER)) if root.is_dir() else ()
    if root.name == FOLDER:
        yield root


def _by_partition(folder: Path, pool_of: Mapping[str, str]) -> dict[str, Iterable[Picture]]:
    files: dict[str, list[Path]] = {pool: [] for pool in ROWS}
    for path in sorted(folder.glob("*.jpg")):
        if path.name not in pool_of:
            raise MiaError(
                f"{path} is not in {PARTITION}, which says what it was meant for: fetch both again."
            )
        files[pool_of[path.name]].append(path)
    return {pool: file_pictures(folder, paths) for pool, paths in files.items()}


def _partition(root: Path) -> dict[str, str]:
    """Pool of each file. Raises Missing without the authors' list, MiaError for another one."""
    # the list may lie beside the folder of pictures
    places = [*sorted(root.rglob(f"{PARTITION}.*")), *root.parent.glob(f"{PARTITION}.*")]
    path = next((p for p in places if p.suffix in (".txt", ".csv")), None)
    if path is None:
        raise Missing(_advice(root))
    try:
        if path.suffix == ".csv":
            rows = [tuple((line.row or {}).values()) for line in read_lines(path)]
        else:
            rows = [tuple(line.split()) for line in text_lines(decode_text(read_file(path)))]
        return {str(name): POOL_OF_NUMBER[str(number)] for name, number in filter(None, rows)}
    except (ValueError, KeyError, MiaError) as error:
        raise MiaError(
            f"{path} cannot be read: a file name and 0 (train), 1 (valid) or 2 (test) a line is "
            f"needed ({error}). Fetch it again."
        ) from error


def _advice(root: Path) -> str:
    return (
        f"data={NAME} looks for the folder {FOLDER} with {PARTITION}.txt or .csv "
        "(https://mmlab.ie.cuhk.edu.hk/projects/CelebA.html), or for train*, valid* and "
        f"test*.parquet of the hub (flwrlabs/celeba), in {root}. data.source.root=<folder> points "
        "elsewhere. data=openmoji works now."
    )
