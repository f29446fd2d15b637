"""mc_bias.py against its formula, values worked out by hand, and what it shares."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mia_bench.attacks.mc import MonteCarlo
from mia_bench.attacks.rectified_flow.rf_mc import MonteCarloBias
from mia_bench.attacks.rediffuse import ReDiffuse
from mia_bench.attacks.residuals.mc_bias import ResidualBias


@pytest.mark.parametrize("p", [2, 4])
def test_equals_the_formula(literal, measure, attack_fixtures, p):
    attack = ResidualBias((100, 450), n_noise=3, p=p)
    features = measure(attack, literal.target, literal.batch)
    expected = np.zeros((4, 2))
    for i in literal.rows:
        z0, c = literal.z0(i), literal.batch.caption[i]
        for j, t in enumerate((100, 450)):
            total = torch.zeros_like(z0)
            for draw in range(3):
                e = literal.noise(i, t, draw)
                total += literal.eps(literal.a(t) * z0 + literal.b(t) * e, t, c) - e
            expected[i, j] = float((total / 3).abs().pow(p).mean())
    np.testing.assert_allclose(features["bias"], expected, rtol=1e-4)
    scores = attack.score(features, attack_fixtures.NOTHING)
    np.testing.assert_allclose(scores, -expected.mean(1), rtol=1e-4)
    assert literal.target.queries["forward"] == 6 * 4
    attack_fixtures.assert_row_by_row(attack, features)


def test_what_the_mean_removes_is_the_variance_of_the_noise(answering, measure):
    """A silent model: residuals are -e_n, their mean has 1/N of the energy, of pairs none."""
    case = answering(lambda z, _: 0 * z)
    plain = measure(ResidualBias(n_noise=4), case.target, case.batch)["bias"][:, 0]
    for i in case.rows:
        mean = torch.stack([case.noise(i, 100, draw) for draw in range(4)]).mean(0)
        assert plain[i] == pytest.approx(float(mean.square().mean()), rel=1e-5)
    paired = measure(ResidualBias(n_noise=4, antithetic=True), case.target, case.batch)["bias"]
    assert paired.tolist() == [[0.0]] * 4


def test_beside_mc15_or_rediffuse_it_costs_nothing(literal):
    target, batch = literal.target, literal.batch
    for host, attack in (
        (MonteCarlo(n_noise=5), ResidualBias((440, 450, 460), 5)),
        (ReDiffuse(), ResidualBias()),
    ):
        with torch.no_grad():
            host.features(target, batch)
            before = target.queries.copy()
            target.start_attack()
            attack.features(target, batch)
        assert target.queries["forward"] == before["forward"]
        assert target.queries["asked"] - before["asked"] == attack.nfe[0] * 4
        target.forget()


def test_one_draw_is_the_loss(literal, measure):
    bias = measure(ResidualBias((440, 450, 460), 1), literal.target, literal.batch)["bias"]
    loss = measure(MonteCarlo(), literal.target, literal.batch)["loss"]
    np.testing.assert_allclose(bias, loss, rtol=1e-5)


def test_in_pairs_it_is_the_attack_on_rectified_flows(literal, measure):
    paired = ResidualBias((354,), 4, antithetic=True)
    bias = measure(paired, literal.target, literal.batch)["bias"][:, 0]
    other = measure(MonteCarloBias(354, 4), literal.target, literal.batch)["bias"]
    np.testing.assert_allclose(bias, other, rtol=1e-5)
    assert paired.nfe == (4, 0)


def test_nonsense_is_refused():
    with pytest.raises(ValueError, match="p=0"):
        ResidualBias(p=0)
    with pytest.raises(ValueError, match="at least one timestep"):
        ResidualBias(())
    with pytest.raises(ValueError, match="pairs"):
        ResidualBias(n_noise=5, antithetic=True)
