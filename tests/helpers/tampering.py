"""Ways to tamper with a stored run, and what verification then says of it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from mia_bench.storage.files import read_json, write_json
from mia_bench.storage.hashing import hash_file, hash_key
from mia_bench.storage.index import run_at
from mia_bench.verification.result import Check
from mia_bench.verify import check


def run_folder(outputs: Path, name: str = "clid") -> Path:
    return one_folder(outputs, f"runs/*/*/{name}-{'[0-9a-f]' * 16}")


def one_folder(outputs: Path, pattern: str) -> Path:
    """The one folder; lock files lie beside it."""
    [found] = [path for path in outputs.glob(pattern) if path.is_dir()]
    return found


def verdict(folder: Path) -> dict[str, Check]:
    return {c.name: c for c in check(run_at(folder))}


def differing(folder: Path) -> dict[str, str]:
    """What is said of every check that differs."""
    return {name: c.message for name, c in verdict(folder).items() if c.state == "DIFFERS"}


def mend(folder: Path, *names: str) -> None:
    """Give the manifest the hashes that its files have now, and its seal, as a forger would."""
    manifest = read_json(folder / "manifest.json")
    manifest["files"] |= {name: hash_file(folder / name) for name in names}
    del manifest["seal"]
    write_json(folder / "manifest.json", {**manifest, "seal": hash_key(manifest)})


def edit_json(path: Path, change: Callable[[dict], None]) -> None:
    found = json.loads(path.read_text())
    change(found)
    path.write_text(json.dumps(found))


def flip(path: Path, at: int = -40) -> None:
    """One bit of a file, which is no link afterwards."""
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.unlink()
    path.write_bytes(data)
