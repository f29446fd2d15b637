"""What no single module promises: bad command lines, hostile input, equal results."""

from __future__ import annotations

from hypothesis import settings

# A machine shared with others makes single examples slow; the suite's own time is what counts.
settings.register_profile("shared", deadline=None)
settings.load_profile("shared")
