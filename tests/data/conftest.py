"""The modules beside these tests can be imported by name; caches go to folders of the tests."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import settings

# A machine shared with others makes single examples slow; the suite's own time is what counts.
settings.register_profile("shared", deadline=None)
settings.load_profile("shared")


@pytest.fixture(autouse=True)
def tables_are_cached_here(tmp_path_factory, monkeypatch) -> None:
    """What `datasets` writes beside parquet files."""
    import datasets

    folder = tmp_path_factory.getbasetemp() / "datasets"
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", folder)
    datasets.disable_progress_bars()


@pytest.fixture(scope="session")
def album(tmp_path_factory) -> Path:
    """An image folder of 70 pictures, no two alike, with metadata."""
    from album import make_album

    return make_album(tmp_path_factory.mktemp("album"), 70)


@pytest.fixture
def folder_run(small, album) -> Callable[..., object]:
    """folder_run(*overrides, outputs=..., root=album): the small default run on an image folder."""

    def build(*overrides: str, outputs: Path, root: Path = album):
        return small("data=imagefolder", f"data.source.root={root}", *overrides, outputs=outputs)

    return build
