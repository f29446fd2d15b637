"""Folders of pictures that differ, each with a caption of its own."""

from __future__ import annotations

import json
from pathlib import Path

from corpus import encode, picture
from miniature import write


def make_album(root: Path, n: int, first: int = 0) -> Path:
    """`n` pictures p000.png, p001.png, ... and metadata.jsonl in `root`."""
    lines = []
    for i in range(n):
        name = f"p{first + i:03d}.png"
        write(root / name, encode(picture(2_000 + first + i)))
        text = f"picture {first + i} of {'abcdefgh'[i % 8]} things and {i * 7} words"
        lines.append(json.dumps({"file_name": name, "text": text}))
    write(root / "metadata.jsonl", "\n".join(lines))
    return root
