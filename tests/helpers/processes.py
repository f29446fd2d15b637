"""Processes that a test did not start itself."""

from __future__ import annotations

from pathlib import Path


def gone(pid: int) -> bool:
    """It ended, whether or not its parent took notice."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True
