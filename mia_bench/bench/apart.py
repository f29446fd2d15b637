"""Work in a process of its own, which prints what it found as JSON."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence


def reported(words: Sequence[str], **environment: str) -> dict[str, float]:
    """The last line that this interpreter prints with arguments `words`."""
    env: Mapping[str, str] = os.environ | environment
    command = [sys.executable, *words]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=True)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found
