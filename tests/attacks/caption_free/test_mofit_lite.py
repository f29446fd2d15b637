"""mofit_lite against its formula, one image at a time with torch's Adam, and a model by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from mia_bench.attacks import Access, NeedsText, query_fields
from mia_bench.attacks.caption_free import mofit_lite
from mia_bench.attacks.caption_free.mofit_lite import MoFitLite
from mia_bench.target import Batch, Condition
from mia_bench.utils.rng import keyed_generator

SHORT = MoFitLite(steps=4)


def surrogate(literal, i, delta):
    image, sid = literal.batch.image[i], literal.batch.sample_id[i]
    draw = keyed_generator(literal.target.seed, f"mofit:{sid}").random(image.shape, np.float32)
    beside = (image + delta * (2 * torch.from_numpy(draw) - 1)).clamp(-1, 1)
    return literal.target.latents.encode(beside[None])[0]


def literal_loss(literal, i, z0, hidden, t):
    target, e = literal.target, literal.noise(i, t)
    z = literal.a(t) * z0 + literal.b(t) * e
    raw = target.unet(
        z[None], torch.tensor([t]), encoder_hidden_states=hidden[None], return_dict=False
    )[0][0]
    eps = literal.a(t) * raw + literal.b(t) * z if target.prediction_type[0] == "v" else raw
    return (eps - e).square().mean()


@pytest.mark.first_look
@pytest.mark.parametrize("attack", [SHORT, replace(SHORT, init="caption", t=400, delta=0.1)])
def test_equals_the_formula(attack, literal, measure):
    literal.target.chunk = 3
    found = measure(attack, literal.target, literal.batch)["loss"]
    for i in literal.rows:
        own = literal.target.text.embed([literal.batch.caption[i]])[0][0]
        null = literal.target.text.embed([""])[0][0]
        phi = (null if attack.init == "null" else own).clone().requires_grad_(True)
        adam = torch.optim.Adam([phi], lr=attack.lr)
        z_beside = surrogate(literal, i, attack.delta)
        for _ in range(attack.steps):
            (phi.grad,) = torch.autograd.grad(
                literal_loss(literal, i, z_beside, phi, attack.t), phi
            )
            adam.step()
        with torch.no_grad():
            expected = [
                literal_loss(literal, i, literal.z0(i), c, attack.t).item()
                for c in (phi, null, own)
            ]
        # slopes near zero have few digits, and Adam makes whole steps of them
        np.testing.assert_allclose(found[i], expected, rtol=2e-3)


class Shifted(nn.Module):
    """eps_hat is the mean of the condition, everywhere."""

    def forward(self, z, t, encoder_hidden_states, **_):
        return (encoder_hidden_states.mean((1, 2)).view(-1, 1, 1, 1).expand_as(z),)


def test_a_model_that_repeats_its_condition_by_hand(random_target, random_batch, measure):
    """The best condition has the mean of the noise; what is left is the variance of the noise."""
    target, batch = random_target(unet=Shifted()), random_batch(3)
    found = measure(MoFitLite(steps=300, lr=0.01), target, batch)["loss"]
    null = target.text.embed([""])[0][0].mean()
    for i, sid in enumerate(batch.sample_id):
        e = target.noise([sid], 140)[0]
        assert found[i, 0] == pytest.approx(e.var(unbiased=False).item(), rel=1e-3)
        assert found[i, 1] == pytest.approx((null - e).square().mean().item(), rel=1e-4)


def test_float16_keeps_slopes_that_are_one_part_in_many(
    fresh_target, random_batch, measure, monkeypatch
):
    """Of large latents, whose slopes are as small as a weak last layer makes them here: Adam takes
    whole steps by their signs, and none where they are lost."""

    def fitted(dtype):
        target = fresh_target()
        target.unet.conv_out.weight.data.mul_(3e-4)
        target.compute_in(dtype)
        conditions = []
        monkeypatch.setattr(
            target.engine,
            "predict",
            lambda z, t, cond, whole: conditions.append(cond.hidden) or predict(z, t, cond, whole),
        )
        predict = type(target.engine).predict.__get__(target.engine)
        measure(replace(SHORT, steps=8), target, random_batch(2))
        return conditions[8].detach()  # after as many steps, before the other two conditions

    exact = fitted(torch.float32)
    enlarged = (fitted(torch.float16) - exact).abs().mean()
    monkeypatch.setattr(mofit_lite, "loss_scale", lambda *_: 1.0)
    assert (fitted(torch.float16) - exact).abs().mean() > 5 * enlarged


def test_rows_do_not_matter_to_each_other(literal, measure):
    batch = literal.batch
    expected = measure(SHORT, literal.target, batch)["loss"]
    rows = [3, 1]
    ids, captions = (tuple(v[i] for i in rows) for v in (batch.sample_id, batch.caption))
    found = measure(SHORT, literal.target, Batch(ids, batch.image[rows], captions))["loss"]
    np.testing.assert_allclose(found, expected[rows], rtol=2e-3)


@pytest.mark.first_look
def test_what_waits_for_a_backward_is_halved_until_it_fits(literal, measure, crowded):
    expected = measure(SHORT, literal.target, literal.batch)["loss"]
    asked = literal.target.queries.copy()
    crowded(literal.target, 1, gradients=True)
    found = measure(SHORT, literal.target, literal.batch)["loss"]
    np.testing.assert_allclose(found, expected, rtol=2e-3)
    assert literal.target.queries["backward"] == 2 * asked["backward"]


@torch.no_grad()
def test_gradients_are_turned_on_by_the_attack_itself(literal):
    found = SHORT.features(literal.target, literal.batch)["loss"]
    assert not found.requires_grad
    assert all(p.grad is None for p in literal.target.unet.parameters())


def test_nfe_is_what_is_asked(literal, measure):
    attack = MoFitLite()
    assert attack.nfe == (203, 200)
    assert attack.access is Access.WHITE_BOX
    assert SHORT.nfe == (7, 4)
    measure(SHORT, literal.target, literal.batch)
    queries = literal.target.queries
    assert queries["asked"] == queries["forward"] == 28
    assert queries["backward"] == 16


def test_scores_by_hand(attack_fixtures):
    features = {"loss": np.array([[3.0, 1, 2], [1, 1, 0], [0, 2, 5]])}
    nothing = attack_fixtures.NOTHING
    assert SHORT.score(features, nothing).tolist() == [2, 0, -2]
    captioned = replace(SHORT, against="caption")
    assert captioned.score(features, nothing).tolist() == [1, 1, -5]
    attack_fixtures.assert_row_by_row(SHORT, features)
    assert query_fields(captioned) == query_fields(SHORT)


def test_captions_are_needed_where_they_are_compared_and_text_always():
    assert isinstance(SHORT, NeedsText)
    assert SHORT.needs_text
    assert not SHORT.needs_captions
    assert replace(SHORT, against="caption").needs_captions
    assert replace(SHORT, init="caption").needs_captions
    assert "203 U-Net evaluations and 200 gradients" in MoFitLite().remark


def test_the_condition_alone_is_fitted(literal):
    """Pooled embeddings stay as they are."""
    extra = {"text_embeds": torch.ones(4, 3)}
    begin = literal.target.null(literal.batch)
    cond = Condition(begin.key, begin.hidden, extra)
    z, eps = literal.target.view(literal.batch).z0, torch.zeros(4, 4, 8, 8)
    seen = []

    def call(_unet, z_t, _t, hidden, extra):
        seen.append(extra["text_embeds"])
        return 0 * z_t + hidden.sum()

    literal.target.predictor.call = call
    SHORT._fit(literal.target, z, eps, cond, slice(0, 2))
    assert len(seen) == 4
    assert all(torch.equal(pooled, torch.ones(2, 3)) for pooled in seen)


@pytest.mark.parametrize("options", [{"steps": 0}, {"lr": 0.0}, {"delta": -0.1}])
def test_refused(options):
    with pytest.raises(ValueError, match="at least 1"):
        MoFitLite(**options)


def test_yaml(experiment):
    assert experiment("attack=mofit_lite").attacks == {"mofit_lite": MoFitLite()}


def test_a_model_without_text_is_refused(experiment):
    with pytest.raises(Exception, match=r"attack mofit_lite: a model that takes text is .* DDPM"):
        experiment("attack=mofit_lite", "model=ddpm")
