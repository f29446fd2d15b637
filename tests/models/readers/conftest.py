"""Plans of small runs, none of which is carried out."""

from __future__ import annotations

import pytest

from mia_bench.planning.make_plan import make_plan


@pytest.fixture
def plan_of(small, tmp_path):
    return lambda *overrides: make_plan(small(*overrides, outputs=tmp_path / "outputs"))
