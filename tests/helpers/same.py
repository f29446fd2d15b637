"""Whether two outputs folders hold the same computed files: `python same.py ONE OTHER`."""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

COMPUTED = (
    "splits/*.json",
    "targets/*/steps/*/*.safetensors",
    "features/**/features.parquet",
    "controls/*/*.parquet",
    "controls/*/controls.json",
    "runs/*/*/*/scores.parquet",
    "runs/*/*/*/roc.parquet",
)
"""All that follows from data, configuration and seeds; manifests and metrics also hold times."""


def computed(outputs: Path) -> dict[str, str]:
    """Hash by path under `outputs`."""
    paths = sorted(p for pattern in COMPUTED for p in outputs.glob(pattern) if p.is_file())
    return {
        path.relative_to(outputs).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in paths
    }


def main() -> None:
    one, other = (computed(Path(word)) for word in sys.argv[1:])
    differing = sorted(name for name in {*one, *other} if one.get(name) != other.get(name))
    for name in differing:
        print(f"differs: {name}")
    print(f"{len(one)} and {len(other)} computed files, {len(differing)} differ")
    sys.exit(1 if differing or not one else 0)


if __name__ == "__main__":
    main()
