"""Scores of members and non-members by chance and a known shift, as arrays and as files."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd


def score_rows(n: int = 80, seed: int = 0, shift: float = 1.5) -> pd.DataFrame:
    """n members, shifted, and n others, with columns as somebody else calls them."""
    rng = np.random.default_rng(seed)
    member = np.tile([1, 0], n)
    score = rng.normal(size=2 * n) + shift * member
    return pd.DataFrame({"id": [f"{i:03d}" for i in range(2 * n)], "label": member, "score": score})


def write_scores(path: Path, frame: pd.DataFrame) -> Path:
    """`frame` as a csv, parquet or JSON file, whichever the name says."""
    path.parent.mkdir(exist_ok=True)
    if path.suffix == ".csv":
        frame.to_csv(path, index=False)
    elif path.suffix == ".parquet":
        frame.to_parquet(path, index=False)
    else:
        path.write_text(json.dumps(frame.to_dict("records")))
    return path


def alone(n: int) -> list[str]:
    """A group for each row."""
    return [f"g{i}" for i in range(n)]


def shifted(d: float, n: int = 300, m: int | None = None, seed: int = 0):
    """n members at N(d, 1), m non-members at N(0, 1), every row its own group."""
    rng, m = np.random.default_rng(seed), n if m is None else m
    scores = np.concatenate([rng.normal(d, 1, n), rng.normal(0, 1, m)])
    return scores, np.arange(n + m) < n, alone(n + m)
