"""The code blocks of a markdown guide: files to write and commands to run, as printed."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

FENCED = re.compile(r"^```(?P<info>[^\n`]+)\n(?P<body>.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Block:
    """`file`: where the block belongs, from the second word of its info string; "" for commands."""

    language: str
    file: str
    body: str


def blocks_of(guide: Path) -> list[Block]:
    """Every fenced block of a guide, in order."""
    found = []
    for match in FENCED.finditer(guide.read_text(encoding="utf-8")):
        language, _, file = match["info"].strip().partition(" ")
        found.append(Block(language, file, match["body"]))
    return found


def write_files(guide: Path, folder: Path) -> list[str]:
    """Write the files that a guide prints under `folder`; their names."""
    files = [block for block in blocks_of(guide) if block.file]
    for block in files:
        path = folder / block.file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(block.body, encoding="utf-8")
    return [block.file for block in files]


def commands_of(guide: Path, folder: Path) -> list[list[str]]:
    """The words of every command of a guide's `bash` blocks, typed in `folder`."""
    lines = [
        line
        for block in blocks_of(guide)
        if block.language == "bash" and not block.file
        for line in block.body.replace("\\\n", " ").splitlines()
    ]
    return [shlex.split(line.replace("$PWD", str(folder))) for line in lines if line.strip()]
