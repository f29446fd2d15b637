"""What produced an artefact: code, versions, machine, command."""

from __future__ import annotations

import os
import platform
import subprocess
import time
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

from mia_bench.storage.command import current_command
from mia_bench.utils.redaction import redact


def environment() -> dict[str, Any]:
    """What produced an artefact: code, versions, machine, command."""
    return {
        "created": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "command": list(map(redact, current_command())),
        "platform": f"{platform.system()} {platform.machine()}",
        "machine": machine(),
        "python": platform.python_version(),
        **_code(),
    }


def machine() -> str:
    """Tells this machine from others without naming it: times are only compared within one."""
    from mia_bench.storage.hashing import hash_key

    return hash_key([platform.node(), os.cpu_count()])


@cache
def _code() -> dict[str, Any]:
    packages = ("mia_bench", "torch", "diffusers", "transformers", "lightning", "numpy", "xgboost")
    versions = {}
    for package in packages:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            versions[package] = "unknown"
    return {"versions": versions, **_git()}


def _git() -> dict[str, Any]:
    here = Path(__file__).parents[1]  # the package, whose parent is a checkout or site-packages

    def ask(*words: str) -> str:
        command = ["git", "-C", str(here), *words]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    try:
        if Path(ask("rev-parse", "--show-toplevel")) != here.parent:
            return {"git_commit": None}
        return {
            "git_commit": ask("rev-parse", "HEAD"),
            "git_dirty": bool(ask("status", "--porcelain")),
        }
    except (OSError, subprocess.CalledProcessError):
        return {"git_commit": None}
