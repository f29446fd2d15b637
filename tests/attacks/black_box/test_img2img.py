"""img2img against its formula, one picture at a time, and a model whose pictures are known."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch
from flow_fixtures import flow_target

from mia_bench.attacks import Access, Calibration, HasRemark
from mia_bench.attacks.black_box.img2img import ImageToImage
from mia_bench.target.diffusion import keyed_noise
from mia_bench.utils.errors import MiaError

SHORT = ImageToImage(
    strengths=(0.3, 0.75), n_draws=2, steps=4, measures=("mse",), compare="mse", decision="mean"
)
PATHS = {0.3: (0,), 0.75: (666, 333, 0)}
"""The last moves of 999, 666, 333, 0 at each strength."""


def noise_of(case, i, draw):
    key = f"image_to_image:{case.batch.sample_id[i]}"
    return keyed_noise(case.target.seed, key, None, draw, case.target.latent_shape)


@pytest.mark.first_look
@pytest.mark.parametrize("condition", ["caption", "empty"])
def test_equals_the_formula(condition, literal, measure):
    attack = replace(SHORT, condition=condition)
    found = measure(attack, literal.target, literal.batch)["mse"]
    for i in literal.rows:
        caption = literal.batch.caption[i] if condition == "caption" else ""
        for k, strength in enumerate(attack.strengths):
            errors = []
            for draw in (0, 1):
                path = PATHS[strength]
                z = literal.a(path[0]) * literal.z0(i) + literal.b(path[0]) * noise_of(
                    literal, i, draw
                )
                for t, s in zip(path, (*path[1:], None), strict=True):
                    eps = literal.eps(z, t, caption)
                    clean = (z - literal.b(t) * eps) / literal.a(t)
                    z = clean if s is None else literal.a(s) * clean + literal.b(s) * eps
                picture = literal.target.latents.decode(z[None])[0].clamp(-1, 1)
                errors.append((picture - literal.batch.image[i]).square().mean().item())
            assert found[i, k] == pytest.approx(sum(errors) / 2, rel=1e-3)


def test_a_model_that_sees_no_noise_by_hand(answering, measure):
    case = answering(lambda z, _: torch.zeros_like(z))
    found = measure(replace(SHORT, n_draws=1), case.target, case.batch)["mse"]
    for i in case.rows:
        for k, t in enumerate((0, 666)):
            z = case.z0(i) + case.b(t) / case.a(t) * noise_of(case, i, 0)
            picture = case.target.latents.decode(z[None])[0].clamp(-1, 1)
            expected = (picture - case.batch.image[i]).square().mean().item()
            assert found[i, k] == pytest.approx(expected, rel=1e-4)


@torch.no_grad()
def test_flow_matching_begins_at_the_samplers_own_level(random_batch):
    target, batch = flow_target(), random_batch(2)
    found = target.image_to_image(batch, batch.caption, 0.5, steps=4)
    sigmas = target.schedule.sampler(4).tolist()[2:]
    key = [f"image_to_image:{sid}" for sid in batch.sample_id]
    noise = torch.stack([keyed_noise(0, k, None, 0, target.latent_shape) for k in key])
    z, c = (1 - sigmas[0]) * target.view(batch).z0 + sigmas[0] * noise, target.embed(batch.caption)
    for s, u in itertools.pairwise(sigmas):
        z = z + (u - s) * target.predict_velocity(z, s, c)
    torch.testing.assert_close(found, target.decode(z), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("guidance", "nfe"), [(1.0, 8), (2.0, 16)])
def test_nfe_is_what_is_asked(guidance, nfe, answering, measure):
    case = answering(lambda z, _: z)
    attack = replace(SHORT, guidance=guidance)
    assert attack.nfe == (nfe, 0)
    measure(attack, case.target, case.batch)
    assert case.target.queries["asked"] == case.target.queries["forward"] == 4 * nfe
    assert ImageToImage().nfe == (30, 0)
    assert ImageToImage.access is Access.BLACK_BOX
    assert list(SHORT.asks_at(1000)) == [666, 333, 0]


def test_scores_by_hand(attack_fixtures):
    calibration = Calibration(
        {"mse": np.array([[1.0, 10], [3, 30], [0, 0]])},
        np.array([False, False, True]),
        np.array(["a", "b", "c"]),
    )
    features = {"mse": np.array([[2.0, 20], [1, 20], [2, 0]])}
    # z of -mse by columns: means -2, -20; std 1, 10
    assert SHORT.score(features, calibration).tolist() == [0.0, 0.5, 1.0]
    attack_fixtures.assert_row_by_row(SHORT, features, calibration)


def test_the_classifier_learns_from_calibration_rows():
    draw = np.random.default_rng(0)
    member = np.arange(60) % 2 == 0
    rows = draw.uniform(1, 2, (60, 2))
    rows[member] -= 0.8
    known = Calibration({"mse": rows}, member, np.arange(60).astype(str))
    attack = replace(SHORT, decision="classifier")
    scores = attack.score({"mse": np.array([[0.4, 0.4], [1.8, 1.9]])}, known)
    assert scores[0] > 0.5 > scores[1]
    assert attack.least_rows == 2


@torch.no_grad()
def test_evidence_is_the_image_and_what_becomes_of_it(literal):
    images = SHORT.evidence(literal.target, literal.batch)
    assert list(images) == ["original", "strength 0.3", "at most, 0.75"]
    assert all(image.shape == literal.batch.image.shape for image in images.values())


def test_it_says_what_it_costs_and_by_what_it_compares():
    assert isinstance(SHORT, HasRemark)
    assert "30 U-Net evaluations; compared by latents" in ImageToImage().remark


@pytest.mark.parametrize(
    "options",
    [
        *({"strengths": ()}, {"strengths": (0.5, 0.3)}, {"strengths": (0.0,)}, {"steps": 0}),
        *({"strengths": (1.1,)}, {"compare": "open_clip"}),
    ],
)
def test_refused(options):
    with pytest.raises(ValueError, match=r"needed|lie in|at least|not measured"):
        ImageToImage(**options)
    with pytest.raises(MiaError, match="do not fit"):
        ImageToImage(steps=20).check(19, 64)


def test_yaml(experiment):
    attacks = experiment("attack=[img2img,img2img_vec]").attacks
    vec = ImageToImage(decision="classifier")
    assert attacks == {"img2img": ImageToImage(), "img2img_vec": vec}


def test_it_works_without_text(experiment):
    assert "img2img" in experiment("attack=img2img", "model=ddpm").attacks
