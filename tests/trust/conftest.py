"""What no single module promises: bad command lines, hostile input, equal results."""

from __future__ import annotations

import sys
from pathlib import Path

from hypothesis import settings

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent / "data")]

# A machine shared with others makes single examples slow; the suite's own time is what counts.
settings.register_profile("shared", deadline=None)
settings.load_profile("shared")
