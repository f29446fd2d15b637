"""SimA under the pull-back mask: the formula; what holds of all is in test_masks_hosts.py."""

from __future__ import annotations

import numpy as np
import pytest

from mia_bench.attacks.pullback.sima_pullback import SimAPullback


def test_equals_the_formula(literal, measure) -> None:
    found = measure(SimAPullback(), literal.target, literal.batch)
    influence = literal.target.decoder_influence(literal.batch, 8)
    expected = []
    for i in literal.rows:
        caption, z0 = literal.batch.caption[i], literal.z0(i)
        r = literal.eps(z0, 100, caption)
        ranked = influence[i].flatten().numpy()
        level = np.percentile(ranked, 40)
        pairs = zip(r.flatten().tolist(), ranked, strict=True)
        expected.append(sum(abs(x) ** 4 for x, v in pairs if v > level))
    np.testing.assert_allclose(
        found["influence"], expected, rtol=2e-3
    )  # float32 sums; an entry at the mask's edge


def test_senseless_options_are_refused() -> None:
    for options in ({"drop": 1.0}, {"probes": 0}, {"p": 0}, {"t": -1}):
        with pytest.raises(ValueError, match="="):
            SimAPullback(**options)
