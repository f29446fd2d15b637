"""Caches of `datasets` go to folders of the tests."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def tables_are_cached_here(tmp_path_factory, monkeypatch) -> None:
    """What `datasets` writes beside parquet files."""
    import datasets

    folder = tmp_path_factory.getbasetemp() / "datasets"
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", folder)
    datasets.disable_progress_bars()
