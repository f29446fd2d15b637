"""SecMI under the pull-back mask: the formula; what holds of all is in test_masks_hosts.py."""

from __future__ import annotations

import numpy as np
import pytest

from mia_bench.attacks.pullback.secmi_pullback import SecMIPullback


@pytest.mark.first_look
def test_equals_the_formula(literal, measure) -> None:
    found = measure(SecMIPullback(), literal.target, literal.batch)
    influence = literal.target.decoder_influence(literal.batch, 8)
    expected = []
    for i in literal.rows:
        caption, z0 = literal.batch.caption[i], literal.z0(i)
        z = z0
        for t in range(0, 140, 10):
            z = literal.move(z, literal.eps(z, t, caption), t, t + 10)
        up = literal.move(z, literal.eps(z, 140, caption), 140, 150)
        r = literal.move(up, literal.eps(up, 150, caption), 150, 140) - z
        ranked = influence[i].flatten().numpy()
        level = np.percentile(ranked, 40)
        pairs = zip(r.flatten().tolist(), ranked, strict=True)
        expected.append(sum(abs(x) ** 2 for x, v in pairs if v > level))
    np.testing.assert_allclose(
        found["influence"], expected, rtol=2e-3
    )  # 16 chained predictions in float32


def test_senseless_options_are_refused() -> None:
    for options in ({"drop": 1.0}, {"probes": 0}, {"p": 0}, {"t_sec": 145}):
        with pytest.raises(ValueError, match="="):
            SecMIPullback(**options)
