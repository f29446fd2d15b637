"""SimA under the pull-back mask: the host's own statistic, masked; none of its queries added."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mia_bench.attacks.pullback.sima_pullback import SimAPullback
from mia_bench.attacks.sima import SimA


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


def test_a_mask_that_keeps_all_is_the_host(literal, measure) -> None:
    """drop=0 leaves out the least entry alone."""
    found = measure(SimAPullback(drop=0.0), literal.target, literal.batch)
    host = measure(SimA(), literal.target, literal.batch)["norm"]
    for name in ("influence", "random"):
        ratio = found[name] / np.asarray(host).reshape(-1)
        assert (ratio <= 1 + 1e-5).all()
        assert (ratio > 0.9).all()


@torch.no_grad()
def test_beside_its_host_it_queries_nothing(literal) -> None:
    target, attack = literal.target, SimAPullback()
    SimA().features(target, literal.batch)
    before = target.queries["forward"]
    target.start_attack()
    asked = target.queries["asked"]
    attack.features(target, literal.batch)
    assert target.queries["forward"] == before
    assert target.queries["asked"] - asked == attack.nfe[0] * 4  # alone it would cost this


def test_the_control_is_the_same_features_under_the_other_mask(attack_fixtures) -> None:
    features = {"influence": np.array([1.0, 5.0, 3.0]), "random": np.array([2.0, 0.0, 7.0])}
    attack, control = SimAPullback(), SimAPullback(mask="random")
    assert attack.score(features, attack_fixtures.NOTHING).tolist() == [-1, -5, -3]
    assert control.score(features, attack_fixtures.NOTHING).tolist() == [-2, 0, -7]
    attack_fixtures.assert_row_by_row(attack, features)
    name, plain, _ = attack.plain()
    assert (name, plain) == ("sima_randommask", control)
    assert control.plain() is None


def test_senseless_options_are_refused() -> None:
    for options in ({"drop": 1.0}, {"probes": 0}, {"p": 0}, {"t": -1}):
        with pytest.raises(ValueError, match="="):
            SimAPullback(**options)
