"""GSA against gradients of one sample and one timestep at a time, and a model with one weight."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from mia_bench.attacks import Access, Calibration, gsa
from mia_bench.attacks.gsa import GSA, timesteps
from mia_bench.target import Batch
from mia_bench.utils.errors import MiaError

GSA1, GSA2 = GSA(n_timesteps=3), GSA(n_timesteps=3, per_timestep=True)
# norms are sums over up to thousands of float32 products, in another order in a batch
CLOSE = {"rtol": 1e-3, "atol": 1e-3}


def literal_gradients(literal, i, t):
    """d L_t / d theta of sample i alone: one U-Net call on a batch of one."""
    target, batch = literal.target, literal.batch
    hidden, _ = target.text.embed([batch.caption[i]])
    eps = literal.noise(i, t)
    z_t = literal.a(t) * literal.z0(i) + literal.b(t) * eps
    raw = target.unet(
        z_t[None], torch.tensor([t]), encoder_hidden_states=hidden, return_dict=False
    )[0][0]
    if target.prediction_type == "v_prediction":
        raw = literal.a(t) * raw + literal.b(t) * z_t
    return torch.autograd.grad(((raw - eps) ** 2).mean(), list(target.unet.parameters()))


@pytest.mark.first_look
@pytest.mark.parametrize("chunk", [64, 2])
@pytest.mark.parametrize("attack", [GSA1, GSA2], ids=["gsa", "gsa2"])
def test_equals_gradients_of_a_batch_of_one(attack, chunk, literal, measure):
    target = literal.target
    target.chunk = chunk
    found = measure(attack, target, literal.batch)["log_norm"]
    assert found.shape == (4, len(list(target.unet.parameters())))
    for i in literal.rows:
        slopes = [literal_gradients(literal, i, t) for t in (332, 665, 999)]
        if attack.per_timestep:
            norms = [
                np.mean([g.norm().item() for g in tensor]) for tensor in zip(*slopes, strict=True)
            ]
        else:
            norms = [sum(tensor).div(3).norm().item() for tensor in zip(*slopes, strict=True)]
        np.testing.assert_allclose(found[i], np.log(np.maximum(norms, 1e-12)), **CLOSE)


@pytest.mark.first_look
@pytest.mark.parametrize(("attack", "most"), [(GSA1, 4), (GSA1, 2), (GSA1, 1), (GSA2, 1)])
def test_what_waits_for_a_backward_is_halved_until_it_fits(attack, most, literal, measure, crowded):
    """A group of three in one backward; where not even that fits, a sample in several."""
    target = literal.target
    expected = measure(attack, target, literal.batch)["log_norm"]
    asked = target.queries.copy()
    attempts = crowded(target, most)
    for _ in range(2):
        found = measure(attack, target, literal.batch)["log_norm"]
        np.testing.assert_allclose(found, expected, **CLOSE)
        refused = sum(rows > most for rows in attempts)
        attempts.clear()
    assert refused == 0  # the second batch knows
    assert target.chunk == 64
    for kind in ("forward", "asked", "backward"):
        assert target.queries[kind] == 3 * asked[kind]


def test_float16_keeps_slopes_that_are_one_part_in_many(
    fresh_target, random_batch, measure, monkeypatch
):
    """Of large latents, whose slopes are as small as a weak last layer makes them here."""

    def norms(dtype):
        target = fresh_target()
        target.unet.conv_out.weight.data.mul_(1e-4)
        target.compute_in(dtype)
        return measure(GSA2, target, random_batch(2))["log_norm"]

    exact = norms(torch.float32)
    enlarged = np.abs(norms(torch.float16) - exact)
    monkeypatch.setattr(gsa, "loss_scale", lambda *_: 1.0)
    assert np.abs(norms(torch.float16) - exact).max() > 10 * enlarged.max()
    assert enlarged.max() < 0.1


@pytest.mark.parametrize("attack", [GSA1, GSA2], ids=["gsa", "gsa2"])
def test_batches_do_not_matter(attack, literal, measure):
    batch = literal.batch
    expected = measure(attack, literal.target, batch)["log_norm"]
    for rows in ([3, 1], [2]):
        ids, captions = (tuple(v[i] for i in rows) for v in (batch.sample_id, batch.caption))
        found = measure(attack, literal.target, Batch(ids, batch.image[rows], captions))["log_norm"]
        np.testing.assert_allclose(found, expected[rows], **CLOSE)


class OneWeight(nn.Module):
    """eps_hat = w z_t, and a weight that nothing uses."""

    def __init__(self) -> None:
        super().__init__()
        self.w, self.idle = nn.Parameter(torch.tensor(0.3)), nn.Parameter(torch.ones(2))

    def forward(self, z, t, **_):
        return (self.w * z,)


def test_one_weight_by_hand(random_target, random_batch, attack_fixtures, measure):
    literal = attack_fixtures.Literal(random_target(unet=OneWeight()), random_batch(4))
    found = {a: measure(a, literal.target, literal.batch)["log_norm"] for a in (GSA1, GSA2)}
    for i in literal.rows:
        slopes = []
        for t in (332, 665, 999):
            eps = literal.noise(i, t)
            z = literal.a(t) * literal.z0(i) + literal.b(t) * eps
            slopes.append((2 * (0.3 * z - eps) * z).mean().item())
        assert found[GSA1][i, 0] == pytest.approx(np.log(abs(np.mean(slopes))), rel=1e-4, abs=1e-4)
        assert found[GSA2][i, 0] == pytest.approx(np.log(np.mean(np.abs(slopes))), rel=1e-4)
        assert found[GSA1][i, 1] == found[GSA2][i, 1] == pytest.approx(np.log(1e-12))


class SoftmaxWeights(nn.Module):
    """A prediction z * softmax(q (k z + bias) of every element) n, which the bias does not move."""

    dtype = torch.float32

    def __init__(self):
        super().__init__()
        self.query = nn.Parameter(torch.tensor(0.7))
        self.key = nn.Parameter(torch.tensor(0.4))
        self.key_bias = nn.Parameter(torch.tensor(0.3))

    def forward(self, z, t, **_):
        keys = (self.key * z + self.key_bias).flatten(1)
        weights = (self.query * keys).softmax(1)
        return (z * weights.view_as(z) * weights.shape[1],)


@pytest.mark.parametrize("attack", [GSA1, GSA2], ids=["gsa", "gsa2"])
def test_the_rounding_of_a_gradient_that_is_zero_is_zero(
    attack, random_target, random_batch, measure, monkeypatch
):
    """The bias of an attention's keys: what is left there differs between processors."""
    target, batch = random_target(unet=SoftmaxWeights()), random_batch(4)
    found = measure(attack, target, batch)["log_norm"]
    assert (found[:, :2] > np.log(1e-6)).all()
    assert (found[:, 2] == np.float32(np.log(1e-12))).all()
    monkeypatch.setattr(gsa, "ROUNDING", 0)
    left = measure(attack, target, batch)["log_norm"]
    assert (left[:, 2] > found[:, 2]).any()
    np.testing.assert_array_equal(left[:, :2], found[:, :2])


@torch.no_grad()
def test_frozen_weights_thaw_for_the_attack_alone(literal):
    target = literal.target
    first = next(target.unet.parameters())
    first.requires_grad_(False)
    try:
        features = GSA1.features(target, literal.batch)
        assert features["log_norm"][:, 0].min() > np.log(1e-12)
        assert not features["log_norm"].requires_grad
        assert not first.requires_grad
        assert all(p.grad is None for p in target.unet.parameters())
    finally:
        first.requires_grad_(True)


@pytest.mark.parametrize(("attack", "backward"), [(GSA(), 1), (GSA(per_timestep=True), 10)])
def test_nfe_is_what_is_asked(attack, backward, random_target, random_batch, measure):
    assert attack.nfe == (10, backward)
    assert attack.access is Access.WHITE_BOX
    target = random_target(unet=OneWeight(), chunk=4)
    measure(attack, target, random_batch(3))
    assert target.queries["asked"] == target.queries["forward"] == 30
    assert target.queries["backward"] == 3 * backward


def test_timesteps_are_equidistant_and_end_at_the_last():
    assert timesteps(1000, 10) == list(range(99, 1000, 100))
    assert timesteps(10, 10) == list(range(10))
    with pytest.raises(MiaError, match="n_timesteps=11 do not fit"):
        timesteps(10, 11)
    with pytest.raises(ValueError, match="n_timesteps=0"):
        GSA(n_timesteps=0)


def table(n: int, seed: int, shift: float = 1.5) -> Calibration:
    """n members, whose first norm is smaller, and n others."""
    rng = np.random.default_rng(seed)
    is_member = np.repeat([True, False], n)
    log_norm = rng.normal(size=(2 * n, 4)).astype(np.float32)
    log_norm[:, 0] -= shift * is_member
    return Calibration({"log_norm": log_norm}, is_member, np.arange(2 * n).astype(str))


@pytest.mark.parametrize("log", [False, True])
def test_members_score_high_whatever_the_direction(log, attack_fixtures):
    attack, known = GSA(log=log), table(60, 0)
    found = table(40, 1)
    scores = attack.score(found.features, known)
    assert scores[:40].mean() > scores[40:].mean() + 0.3
    assert (scores >= 0).all()
    assert (scores <= 1).all()
    attack_fixtures.assert_row_by_row(attack, found.features, known)
    other = replace(known, is_member=~known.is_member)
    turned = attack.score(found.features, other)
    assert turned[:40].mean() < turned[40:].mean()


@pytest.mark.parametrize("log", [False, True])
def test_the_classifier_is_two_hundred_trees_on_scaled_norms(log):
    from xgboost import XGBClassifier

    known, found = table(30, 0, shift=0.3), table(10, 1).features["log_norm"]
    learnt = known.features["log_norm"]
    if not log:
        found, learnt = np.exp(found), np.exp(learnt)
    scale = [(values - learnt.mean(0)) / learnt.std(0) for values in (learnt, found)]
    trees = XGBClassifier(n_estimators=200, n_jobs=1).fit(scale[0], known.is_member.astype(int))
    scores = GSA(log=log).score(table(10, 1).features, known)
    # float32 splits, of scales that differ in the last bit
    np.testing.assert_allclose(scores, trees.predict_proba(scale[1])[:, 1], atol=1e-3)


def test_scores_are_repeatable():
    known, found = table(30, 0), table(10, 1).features
    assert (GSA().score(found, known) == GSA().score(found, known)).all()


def test_too_few_calibration_rows_are_counted():
    known = table(5, 0)
    few = known.take(np.array([0, 1, 2, 5, 6, 7, 8]))
    with pytest.raises(MiaError, match=r"3 members and 4 non-members are left .* least 4"):
        GSA().score(known.features, few)
    assert GSA().least_rows == 4


@pytest.mark.first_look
@pytest.mark.parametrize("attack", [GSA(), GSA(per_timestep=True)], ids=["gsa", "gsa2"])
def test_finds_what_a_memorizer_memorised(attack, judge, memorized):
    verdict = judge(attack, memorized)
    assert verdict.auroc > 0.9
    assert not verdict.fooled


@pytest.mark.parametrize(("name", "attack"), [("gsa", GSA()), ("gsa2", GSA(per_timestep=True))])
def test_yaml(name, attack, experiment):
    assert experiment(f"attack={name}").attacks == {name: attack}
