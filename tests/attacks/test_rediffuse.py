"""ReDiffuse against its formula, one sample at a time, and values worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from mia_bench.attacks import query_fields
from mia_bench.attacks.loss import Loss
from mia_bench.attacks.rediffuse import ReDiffuse, grey


def average(literal, i, n, t, k):
    """zhat of one sample."""
    z0, c = literal.z0(i), literal.batch.caption[i]
    drawn = []
    for draw in range(n):
        z = literal.a(t) * z0 + literal.b(t) * literal.noise(i, t, draw)
        for step in range(t, 0, -k):
            z = literal.move(z, literal.eps(z, step, c), step, step - k)
        drawn.append(z)
    return sum(drawn) / n


def ssim(x, y):
    """Mean SSIM of two grey images in [-1, 1], an 11 x 11 Gaussian window around every pixel."""
    taps = np.exp(-(np.arange(-5, 6) ** 2) / (2 * 1.5**2))
    w = np.outer(taps, taps) / taps.sum() ** 2
    c1, c2 = (0.01 * 2) ** 2, (0.03 * 2) ** 2
    mirrored = [np.pad(v, 5, mode="reflect") for v in (x, y)]
    values = []
    for top in range(x.shape[0]):
        for left in range(x.shape[1]):
            p, q = (v[top : top + 11, left : left + 11] for v in mirrored)
            mp, mq = (w * p).sum(), (w * q).sum()
            vp, vq = (w * p * p).sum() - mp**2, (w * q * q).sum() - mq**2
            cov = (w * p * q).sum() - mp * mq
            up = (2 * mp * mq + c1) * (2 * cov + c2)
            values.append(up / ((mp**2 + mq**2 + c1) * (vp + vq + c2)))
    return np.mean(values)


def shade(literal, z):
    """The grey image of a latent, (H, W) float64."""
    r, g, b = literal.target.latents.decode(z[None])[0].clamp(-1, 1).double().numpy()
    return 0.299 * r + 0.587 * g + 0.114 * b


@pytest.mark.first_look
@pytest.mark.parametrize(("t", "k"), [(100, 50), (200, 50)])
def test_equals_the_formula(literal, measure, t, k):
    found = measure(ReDiffuse(t=t, k=k, n=3), literal.target, literal.batch)
    for i in literal.rows:
        z0, zhat = literal.z0(i), average(literal, i, 3, t, k)
        # float32 latents of about 1 after up to four moves; SSIM divides by small variances.
        assert found["latent_l2"][i] == pytest.approx(float((zhat - z0).norm()), rel=1e-4)
        expected = ssim(shade(literal, zhat), shade(literal, z0))
        assert found["ssim"][i] == pytest.approx(expected, abs=1e-4)


def test_a_silent_model_gives_the_value_worked_out(answering, measure):
    # eps = 0 only rescales: zhat = a_0 (z0 + b_t / a_t * mean of the noise).
    case = answering(lambda z, _: 0 * z)
    found = measure(ReDiffuse(), case.target, case.batch)["latent_l2"]
    for i in case.rows:
        mean = sum(case.noise(i, 100, draw) for draw in range(10)) / 10
        zhat = case.a(0) * (case.z0(i) + case.b(100) / case.a(100) * mean)
        assert found[i] == pytest.approx(float((zhat - case.z0(i)).norm()), rel=1e-5)


def test_a_model_that_knows_the_images_returns_them(answering, measure):
    # eps = (z_t - a_t z0) / b_t is the noise itself: zhat = a_0 z0 + b_0 * mean of the noise.
    case = answering(lambda z, t: known(z, t))
    z0 = torch.stack([case.z0(i) for i in case.rows])

    def known(z, t):
        step = int(t.flatten()[0])
        return (z - case.a(step) * z0.repeat(len(z) // 4, 1, 1, 1)) / case.b(step)

    found = measure(ReDiffuse(), case.target, case.batch)
    for i in case.rows:
        mean = sum(case.noise(i, 100, draw) for draw in range(10)) / 10
        rest = (case.a(0) - 1) * z0[i] + case.b(0) * mean
        assert found["latent_l2"][i] == pytest.approx(float(rest.norm()), rel=1e-3)
        assert found["ssim"][i] > 0.99


def test_noise_that_averages_out_brings_the_image_back(answering, measure):
    case = answering(lambda z, _: 0 * z)
    distance = {
        n: measure(ReDiffuse(n=n), case.target, case.batch)["latent_l2"].mean() for n in (1, 16)
    }
    assert distance[16] == pytest.approx(distance[1] / 4, rel=0.1)  # 1 / sqrt(n)


def test_n_repeats_of_t_over_k_queries_and_the_first_is_shared(literal, measure):
    attack = ReDiffuse()
    measure(attack, literal.target, literal.batch)
    assert attack.nfe == (20, 0)
    assert literal.target.queries["asked"] == literal.target.queries["forward"] == 20 * 4
    assert ReDiffuse(t=200, k=50, n=4).nfe == (16, 0)

    with torch.no_grad():
        Loss(t=100).features(literal.target, literal.batch)
        before = literal.target.queries["forward"]
        attack.features(literal.target, literal.batch)
    assert literal.target.queries["forward"] - before == 19 * 4  # draw 0 at t = 100 is Loss's


def test_one_table_serves_both_measures(attack_fixtures):
    features = {"ssim": np.array([0.9, 0.5, 0.7]), "latent_l2": np.array([1.0, 5.0, 3.0])}
    for name, sign in (("ssim", 1), ("latent_l2", -1)):
        attack = ReDiffuse(measure=name)
        scores = attack.score(features, attack_fixtures.NOTHING)
        assert scores.tolist() == (sign * features[name]).tolist()
        attack_fixtures.assert_row_by_row(attack, features)
    assert "measure" not in query_fields(ReDiffuse())


def test_grey_keeps_grey():
    image = torch.full((1, 3, 2, 2), -0.25)
    torch.testing.assert_close(grey(image), torch.full((1, 1, 2, 2), -0.25))
    assert math.isclose(float(grey(torch.eye(3)[:1].view(1, 3, 1, 1))), 0.299, rel_tol=1e-6)


def test_walks_that_cannot_be_made_are_refused(literal):
    with pytest.raises(ValueError, match="multiple of the stride k=40"):
        ReDiffuse(k=40)
    with pytest.raises(ValueError, match="n=0"):
        ReDiffuse(n=0)
    with pytest.raises(ValueError, match="1000 is outside the schedule"):
        ReDiffuse(t=1000).features(literal.target, literal.batch)
