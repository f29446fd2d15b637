"""Made-up rows that several tests of the protocol look at."""

from __future__ import annotations

from typing import Any

import numpy as np

from mia_bench.data.split.roles import Role
from mia_bench.evaluation.labelled_features import LabelledFeatures
from mia_bench.metrics.bootstrap import Bootstrap
from mia_bench.storage.feature_table import Table


def known(n: int = 60, signal: float = 1.0, seed: int = 0) -> LabelledFeatures:
    rng = np.random.default_rng(seed)
    member = rng.random(n) < 0.5
    loss = rng.normal(1.0, 0.2, (n, 5, 3))
    loss[:, 0] -= signal * 0.2 * member[:, None]
    role = np.where(member, str(Role.SHADOW_MEMBER), str(Role.SHADOW_NONMEMBER))
    ids = tuple(f"x:{i}" for i in range(n))
    group = np.array([f"g{i // 2}{'m' if m else 'n'}" for i, m in enumerate(member)])
    return LabelledFeatures(Table(ids, {"loss": loss.astype(np.float32)}), role, group)


def mixed_groups(seed: int) -> tuple[Any, Any, list[str]]:
    """Tied scores in groups of one to eight rows, in random order: 220 members, 230 others."""
    rng = np.random.default_rng(seed)
    y = rng.permutation(np.arange(450) < 220)
    s = np.round(rng.normal(size=y.size) + 0.7 * y, 1)
    group = [f"{'mn'[int(not m)]}{rng.integers(100)}" for m in y]
    return s, y, group


def all_weights(boot: Bootstrap) -> Any:
    return np.concatenate(list(boot.weights()))
