"""Gradient masking against its formula, one sample at a time, and a model with known gradients."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from mia_bench.attacks import Access, Calibration, query_fields
from mia_bench.attacks.gradient_masking import GradientMasking, top_entries
from mia_bench.target import Batch
from mia_bench.utils.errors import MiaError

SHORT = GradientMasking(timesteps=(0, 300, 900))


def literal_residual(literal, i, t, top, latent):
    target, caption = literal.target, literal.batch.caption[i]
    hidden, _ = target.text.embed([caption])
    z0, e = literal.z0(i), literal.noise(i, t)
    z_t = (literal.a(t) * z0 + literal.b(t) * e).requires_grad_(True)
    raw = target.unet(
        z_t[None], torch.tensor([t]), encoder_hidden_states=hidden, return_dict=False
    )[0][0]
    if target.prediction_type == "v_prediction":
        raw = literal.a(t) * raw + literal.b(t) * z_t
    size = torch.autograd.grad((raw - e).square().sum().sqrt(), z_t)[0].abs().flatten()
    mask = torch.zeros_like(size, dtype=torch.bool)
    for place in sorted(range(len(size)), key=lambda k: -size[k].item())[: round(top * len(size))]:
        mask[place] = True
    mask = mask.view_as(z0)
    z_t = z_t.detach()
    x = z0 if latent == "clean" else z_t
    eps_hat = literal.eps(torch.where(mask, e, x), t, caption)
    return ((e - x) - eps_hat)[mask].square().sum().sqrt().item()


@pytest.mark.first_look
@pytest.mark.parametrize("attack", [SHORT, replace(SHORT, latent="noisy", top=0.5)])
def test_equals_the_formula(attack, literal, measure):
    literal.target.chunk = 3
    found = measure(attack, literal.target, literal.batch)["residual"]
    expected = [
        [literal_residual(literal, i, t, attack.top, attack.latent) for t in attack.timesteps]
        for i in literal.rows
    ]
    # float32 gradients of a batch differ by 1e-6; entries at the edge of the mask may change places
    np.testing.assert_allclose(found, expected, rtol=1e-3)


@pytest.mark.first_look
def test_what_waits_for_a_backward_is_halved_until_it_fits(literal, measure, crowded):
    expected = measure(SHORT, literal.target, literal.batch)["residual"]
    asked = literal.target.queries.copy()
    crowded(literal.target, 1, gradients=True)
    found = measure(SHORT, literal.target, literal.batch)["residual"]
    np.testing.assert_allclose(found, expected, rtol=1e-3)
    assert (literal.target.chunk, literal.target.gradient_chunk) == (64, 1)
    assert literal.target.queries["backward"] == 2 * asked["backward"]


def test_a_model_with_known_gradients_by_hand(answering, measure):
    weight = torch.linspace(0.1, 2, 256).view(4, 8, 8)
    case = answering(lambda z, _: weight * z)
    found = measure(SHORT, case.target, case.batch)["residual"]
    for i in case.rows:
        for k, t in enumerate(SHORT.timesteps):
            z0, e = case.z0(i), case.noise(i, t)
            z = case.a(t) * z0 + case.b(t) * e
            # d || w z - e || / dz = w (w z - e) / || w z - e ||
            size = (weight * (weight * z - e)).abs().flatten()
            mask = (size >= size.sort().values[-51]).view_as(z0)  # 51 = round(0.2 * 256)
            assert mask.sum() == 51
            expected = ((e - z0) - weight * e)[mask].norm().item()
            assert found[i, k] == pytest.approx(expected, rel=1e-4)


@pytest.mark.first_look
def test_batches_do_not_matter(literal, measure):
    batch = literal.batch
    expected = measure(SHORT, literal.target, batch)["residual"]
    for rows in ([3, 1], [2]):
        ids, captions = (tuple(v[i] for i in rows) for v in (batch.sample_id, batch.caption))
        found = measure(SHORT, literal.target, Batch(ids, batch.image[rows], captions))["residual"]
        np.testing.assert_allclose(found, expected[rows], rtol=1e-3)


@torch.no_grad()
def test_gradients_are_turned_on_by_the_attack_itself(literal):
    found = SHORT.features(literal.target, literal.batch)["residual"]
    assert not found.requires_grad
    assert all(p.grad is None for p in literal.target.unet.parameters())


def test_nfe_is_what_is_asked(answering, measure):
    case = answering(lambda z, _: z)
    attack = GradientMasking()
    assert attack.nfe == (20, 10)
    assert attack.access is Access.WHITE_BOX
    measure(attack, case.target, case.batch)
    assert case.target.queries["asked"] == case.target.queries["forward"] == 80
    assert case.target.queries["backward"] == 40


def test_the_mask_holds_its_share_of_the_largest_entries():
    values = torch.tensor([[3.0, 1, 4, 1.5, 5], [9, 2, 6, 5, 3]])
    assert top_entries(values, 0.4).tolist() == [
        [False, False, True, False, True],
        [True, False, True, False, False],
    ]
    assert top_entries(values, 0.01).sum(1).tolist() == [1, 1]
    assert top_entries(values.view(2, 1, 5), 1.0).all()


def test_threshold_is_minus_the_mean(attack_fixtures):
    attack = replace(SHORT, decision="threshold")
    features = {"residual": np.array([[1.0, 3.0], [5.0, 5.0], [0.0, 1.0]], dtype=np.float32)}
    assert attack.score(features, attack_fixtures.NOTHING).tolist() == [-2.0, -5.0, -0.5]
    attack_fixtures.assert_row_by_row(attack, features)
    assert query_fields(attack) == query_fields(SHORT)


@pytest.mark.parametrize("sign", [-1, 1])
def test_the_classifier_learns_the_direction(sign, attack_fixtures):
    rng = np.random.default_rng(0)
    is_member = np.repeat([True, False], 40)
    residual = rng.normal(size=(80, 3)) + sign * is_member[:, None]
    known = Calibration({"residual": residual}, is_member, np.arange(80).astype(str))
    features = {"residual": np.array([[sign, sign, sign], [0, 0, 0], [2 * sign, sign, 0]])}
    scores = SHORT.score(features, known)
    assert scores[0] > 0.5 > scores[1] > 0
    assert scores[2] < 1
    attack_fixtures.assert_row_by_row(SHORT, features, known, rtol=1e-12)
    few = known.take(np.array([0, 50, 51]))
    with pytest.raises(MiaError, match="1 members and 2 non-members"):
        SHORT.score(features, few)
    assert SHORT.least_rows == 2
    assert replace(SHORT, decision="threshold").least_rows == 0


def test_refused():
    for options in ({"timesteps": ()}, {"top": 0.0}, {"top": 1.1}):
        with pytest.raises(ValueError, match="needed"):
            GradientMasking(**options)


@pytest.mark.first_look
@pytest.mark.parametrize("latent", ["clean", "noisy"])
def test_finds_what_a_memorizer_memorised(latent, judge, memorized):
    verdict = judge(GradientMasking(latent=latent), memorized)
    assert verdict.auroc > 0.9
    assert not verdict.fooled


def test_yaml(experiment):
    attacks = experiment("attack=gradient_masking").attacks
    assert attacks == {"gradient_masking": GradientMasking()}
