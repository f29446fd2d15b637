"""SS_ei: which rows a step keeps."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from encoded import RECIPE, treated

from mia_bench.mitigations import FiltersRows
from mia_bench.mitigations.caption_influence import CaptionInfluence
from mia_bench.utils.errors import MiaError


def test_rows_are_kept_by_the_literal_norm():
    generator = torch.Generator().manual_seed(0)
    conditional, null = torch.randn(2, 9, 4, 3, 3, generator=generator)
    filtering = CaptionInfluence(threshold=8.0)
    found = filtering.kept(conditional, null).tolist()
    for kept, with_caption, without in zip(found, conditional, null, strict=True):
        pairs = zip(with_caption.flatten().tolist(), without.flatten().tolist(), strict=True)
        assert kept == (math.sqrt(sum((a - b) ** 2 for a, b in pairs)) < 8.0)
    assert len(set(found)) == 2


def test_a_row_at_the_threshold_is_dropped():
    """Differences of 3 and 4 in one row: a norm of 5; just below and at it."""
    null = torch.zeros(2, 1, 1, 2)
    conditional = torch.tensor([[3.0, 4.0], [3.0, 3.999]]).view(2, 1, 1, 2)
    assert CaptionInfluence(threshold=5.0).kept(conditional, null).tolist() == [False, True]


def test_a_scaled_threshold_is_that_of_stable_diffusion_at_its_size():
    """A quarter of each side: sixteen times fewer elements, a quarter of the threshold."""
    for size, limit in ((64, 2.0), (16, 0.5)):
        null = torch.zeros(2, 4, size, size)
        conditional = null.clone()
        conditional[0, 0, 0, 0], conditional[1, 0, 0, 0] = limit - 1e-3, limit + 1e-3
        scaled = CaptionInfluence(threshold=2.0, scaled=True)
        assert scaled.kept(conditional, null).tolist() == [True, False]


def test_it_is_found_by_its_hook_and_refuses_what_has_no_meaning():
    assert isinstance(CaptionInfluence(), FiltersRows)
    for threshold in (0.0, math.inf):
        with pytest.raises(ValueError, match="positive and finite"):
            CaptionInfluence(threshold=threshold)
    context = treated(RECIPE).context
    with pytest.raises(MiaError, match="accumulate=1"):
        CaptionInfluence().check(replace(context, recipe=replace(RECIPE, accumulate=2)))
    with pytest.raises(MiaError, match=r"trainer\.devices=1"):
        CaptionInfluence().check(replace(context, devices=2))
