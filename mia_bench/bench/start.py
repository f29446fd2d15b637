"""Seconds until a command answers, the smallest of several: what a person waits for."""

from __future__ import annotations

import subprocess
import sys

from mia_bench.bench.clock import elapsed


def seconds_of(*arguments: str, rounds: int) -> float:
    command = [sys.executable, "-m", "mia_bench", *arguments]

    def run() -> None:
        subprocess.run(command, capture_output=True, check=True)

    return min(elapsed(run) for _ in range(rounds))
