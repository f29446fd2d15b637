"""An image folder with metadata, and the small default run on it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from album import make_album


@pytest.fixture(scope="session")
def album(tmp_path_factory) -> Path:
    """An image folder of 70 pictures, no two alike, with metadata."""
    return make_album(tmp_path_factory.mktemp("album"), 70)


@pytest.fixture
def folder_run(small, album) -> Callable[..., object]:
    """folder_run(*overrides, outputs=..., root=album): the small default run on an image folder."""

    def build(*overrides: str, outputs: Path, root: Path = album):
        return small("data=imagefolder", f"data.source.root={root}", *overrides, outputs=outputs)

    return build
