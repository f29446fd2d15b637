"""The order of files, and which fixtures there are.

Everything runs on one thread, so a test takes what it takes whatever else the machine does.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent / "helpers"))
PLUGINS = (
    *("one_process", "network_fixtures", "run_fixtures", "typed_fixtures", "album_fixtures"),
    *("browser_fixtures", "pipeline_fixtures", "report_fixtures", "verify_fixtures"),
)
"""Of tests/helpers."""


def pytest_configure(config: pytest.Config) -> None:
    """Load the fixtures, but not into the process that only hands tests to others, which would wait
    for it to import torch and Lightning before they import them too."""
    hands_out = config.getoption("numprocesses", None) and not hasattr(config, "workerinput")
    if not hands_out:
        for name in PLUGINS:
            config.pluginmanager.import_plugin(name)


@pytest.hookimpl(tryfirst=True)  # before tests are put in another order and left out by their marks
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Marks, then long files first; tests of a file, and other files, keep their order."""
    from longest_files import LONGEST_FIRST
    from quick_tests import FILES_WITHOUT_QUICK_TESTS, files_without_quick_tests, mark_later_cases

    mark_later_cases(items)
    config.stash[FILES_WITHOUT_QUICK_TESTS] = files_without_quick_tests(items)
    root = Path(__file__).parent
    place = {root / name: i for i, name in enumerate(LONGEST_FIRST)}
    items.sort(key=lambda item: place.get(item.path, len(place)))
