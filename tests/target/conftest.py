"""Both kinds of prediction, for tests that hold for either."""

from __future__ import annotations

import pytest


@pytest.fixture(params=["epsilon", "v_prediction"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)
