"""Features that CLiD measured on the untouched base: the evaluation rows of the default run."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest


@pytest.fixture(scope="session")
def base_rows() -> pd.DataFrame:
    """580 rows: sample_id, group, and loss0 to loss14, (5, 3) flattened."""
    return pd.read_parquet(Path(__file__).parent / "base_rows.parquet")
