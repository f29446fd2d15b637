"""Plans of small runs, none of which is carried out."""

from __future__ import annotations

import pytest

from mia_bench.planning.make_plan import make_plan


@pytest.fixture(scope="module")
def plan_of(small, tmp_path_factory):
    outputs = tmp_path_factory.mktemp("plans")
    return lambda *overrides: make_plan(small(*overrides, outputs=outputs))
