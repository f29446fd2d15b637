"""Generators that are keyed by names: the same key gives the same stream, on any machine."""

from __future__ import annotations

import numpy as np

from mia_bench.utils.rng import keyed_generator


def test_a_stream_follows_from_its_key() -> None:
    one, same = (keyed_generator(0, "text", "openmoji:1", 2).standard_normal(5) for _ in range(2))
    np.testing.assert_array_equal(one, same)
    for other in ((1, "text", "openmoji:1", 2), (0, "text", "openmoji:2", 2), (0, "text", None, 2)):
        assert (keyed_generator(*other).standard_normal(5) != one).all()


def test_the_first_numbers_of_a_stream_are_frozen() -> None:
    """Features on disk were computed with them."""
    assert keyed_generator(3, "frozen").integers(0, 1000, 4).tolist() == [208, 646, 842, 758]
