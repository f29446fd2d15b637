"""clid_f.py against its formula, one sample at a time, and beside CLiD, whose queries it shares."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.preprocessing import RobustScaler

from mia_bench.attacks.clid import CLiD
from mia_bench.attacks.components.caption_reductions import word_thirds
from mia_bench.attacks.frequency.clid_f import CLiDF
from mia_bench.attacks.frequency.low_pass import LowPass

TIMES = (440, 460)


def test_filtered_losses_are_the_formulas(literal, measure, low_pass):
    target, batch = literal.target, literal.batch
    attack = CLiDF(TIMES, radius=2)
    features = measure(attack, target, batch)
    losses = LowPass("square", 0.2)(features)
    assert losses.shape == (4, 5)
    assert target.queries["asked"] == target.queries["forward"] == 10 * 4
    for i in literal.rows:
        z0, caption = literal.z0(i), batch.caption[i]
        for j, text in enumerate((caption, *word_thirds(caption), "")):
            errors = []
            for t in TIMES:
                a, b = literal.a(t), literal.b(t)
                z_t = a * z0 + b * literal.noise(i, t)
                clean = (z_t - b * literal.eps(z_t, t, text)) / a
                difference = low_pass(clean, 2, 0.2, "square") - low_pass(z0, 2, 0.2, "square")
                errors.append(float(difference.square().mean()))
            # the literal error is a difference of latents, which loses digits of float32
            assert losses[i, j] == pytest.approx(np.mean(errors), rel=2e-3)


def test_the_score_is_clids_on_filtered_losses(examine, memorize):
    attack = CLiDF()
    exam = examine(attack, memorize(30))

    def terms(features):
        losses = LowPass("square", 0.2)(features)
        rise = losses[:, 1:] - losses[:, :1]
        return np.column_stack([rise.mean(1), -losses[:, 0]])

    scaled = RobustScaler().fit(terms(exam.known.features)).transform(terms(exam.rows))
    expected = 0.4 * scaled[:, 0] + 0.6 * scaled[:, 1]
    np.testing.assert_allclose(attack.score(exam.rows, exam.known), expected, rtol=1e-6)
    assert attack.chosen(exam.known) == {"alpha": 0.4}
    tuned = CLiDF(decision="tuned", alpha=None)
    assert tuned.chosen(exam.known).keys() == {"alpha", "radius", "floor", "square"}
    assert np.isfinite(tuned.score(exam.rows, exam.known)).all()


def test_beside_clid_it_costs_nothing_and_without_a_filter_it_is_clid(literal):
    target, batch = literal.target, literal.batch
    target.start_attack()
    loss = CLiD((450,)).features(target, batch)["loss"].detach()[..., 0]
    target.start_attack()
    features = CLiDF((450,)).features(target, batch)
    assert target.queries["forward"] == 5 * 4
    assert target.queries["asked"] == 10 * 4
    stored = {name: values.detach().numpy() for name, values in features.items()}
    ratio = (literal.b(450) / literal.a(450)) ** 2
    np.testing.assert_allclose(LowPass("square", 1.0)(stored), ratio * loss.numpy(), rtol=1e-4)


def test_nonsense_is_refused():
    with pytest.raises(ValueError, match="timestep"):
        CLiDF(())
    with pytest.raises(ValueError, match="alpha=2"):
        CLiDF(alpha=2)
    with pytest.raises(ValueError, match="floor=-1"):
        CLiDF(floor=-1)
