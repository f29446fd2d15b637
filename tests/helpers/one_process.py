"""What a process that runs tests sets up: one thread, and garbage collection that takes no time."""

from __future__ import annotations

import gc
import sys

import hypothesis  # before the freeze, which hides objects from its start-up check
import torch

torch.set_num_threads(1)
# A machine shared with others makes single examples slow; the suite's own time is what counts.
hypothesis.settings.register_profile("shared", deadline=None)
hypothesis.settings.load_profile("shared")
# Collecting the tests makes objects that stay: to look through them time and again takes seconds.
gc.disable()
MODULES_WORTH_A_FREEZE = 100  # that were imported since the last one
_frozen = {"modules": 0}


def pytest_collection_finish() -> None:
    """What is imported and the thousands of tests stay: runs, which collect garbage between their
    parts, need not look at them each time."""
    gc.enable()
    _freeze()


def pytest_runtest_logfinish() -> None:
    """Libraries that a test was the first to import stay as well."""
    if len(sys.modules) - _frozen["modules"] >= MODULES_WORTH_A_FREEZE:
        _freeze()


def _freeze() -> None:
    gc.collect()
    gc.freeze()
    _frozen["modules"] = len(sys.modules)
