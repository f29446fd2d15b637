"""gen_sim against its formula, one picture at a time, and a model whose pictures are known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from open_clip_models import small_open_clip

from mia_bench.attacks import Access, Calibration, HasRemark, ProducesEvidence, query_fields
from mia_bench.attacks.black_box.caption_rewrites import rewritten
from mia_bench.attacks.black_box.gen_sim import GenSim
from mia_bench.attacks.black_box.picture_measures import caption_fit
from mia_bench.target import Batch
from mia_bench.target.diffusion import keyed_noise
from mia_bench.utils.errors import MiaError

SHORT = GenSim(
    views=("caption", "style"),
    n_images=2,
    steps=3,
    measures=("mse",),
    compare="mse",
    decision="max",
)


def literal_picture(literal, i, caption, draw, guidance):
    target, sid = literal.target, literal.batch.sample_id[i]
    z = keyed_noise(target.seed, f"generate:{sid}", None, draw, target.latent_shape)
    for t, s in ((999, 500), (500, 0), (0, None)):
        eps = literal.eps(z, t, caption)
        if guidance != 1:
            free = literal.eps(z, t, "")
            eps = free + guidance * (eps - free)
        clean = (z - literal.b(t) * eps) / literal.a(t)
        z = clean if s is None else literal.a(s) * clean + literal.b(s) * eps
    return target.latents.decode(z[None])[0].clamp(-1, 1)


@pytest.mark.first_look
@pytest.mark.parametrize("guidance", [1.0, 2.0])
def test_equals_the_formula(guidance, literal, measure):
    attack = replace(SHORT, guidance=guidance)
    found = measure(attack, literal.target, literal.batch)["mse"]
    assert found.shape == (4, 2, 2)
    for i in literal.rows:
        for v, view in enumerate(attack.views):
            for j in range(2):
                caption = rewritten(literal.batch.caption[i], view, j)
                picture = literal_picture(literal, i, caption, j, guidance)
                expected = (picture - literal.batch.image[i]).square().mean().item()
                # 1 / a_999 = 15 multiplies the last digits of float32
                assert found[i, v, j] == pytest.approx(expected, rel=2e-3)


def test_a_model_whose_pictures_are_known_by_hand(answering, measure):
    """It sees no noise anywhere, so every move keeps the direction: z0 = z_999 / a_999."""
    case = answering(lambda z, _: torch.zeros_like(z))
    found = measure(replace(SHORT, views=("caption",)), case.target, case.batch)["mse"]
    for i in case.rows:
        for j in range(2):
            key = f"generate:{case.batch.sample_id[i]}"
            z = keyed_noise(0, key, None, j, (4, 8, 8)) / case.a(999)
            picture = case.target.latents.decode(z[None])[0].clamp(-1, 1)
            expected = (picture - case.batch.image[i]).square().mean().item()
            assert found[i, 0, j] == pytest.approx(expected, rel=1e-5)


def test_pictures_do_not_depend_on_the_batch(literal, measure):
    batch = literal.batch
    expected = measure(SHORT, literal.target, batch)["mse"]
    rows = [3, 1]
    ids, captions = (tuple(v[i] for i in rows) for v in (batch.sample_id, batch.caption))
    found = measure(SHORT, literal.target, Batch(ids, batch.image[rows], captions))["mse"]
    np.testing.assert_allclose(found, expected[rows], rtol=2e-3)


@pytest.mark.parametrize(("guidance", "nfe"), [(1.0, 12), (3.0, 24)])
def test_nfe_is_what_is_asked(guidance, nfe, answering, measure):
    case = answering(lambda z, _: z)
    attack = replace(SHORT, guidance=guidance)
    assert attack.nfe == (nfe, 0)
    measure(attack, case.target, case.batch)
    assert case.target.queries["asked"] == case.target.queries["forward"] == 4 * nfe
    assert GenSim().nfe == (80, 0)
    assert GenSim.access is Access.BLACK_BOX


def known(features, is_member):
    return Calibration(features, np.array(is_member), np.arange(len(is_member)).astype(str))


def test_max_and_mean_by_hand(attack_fixtures):
    attack = replace(SHORT, views=("caption",))
    calibration = known({"mse": np.array([[[4.0, 6]], [[2, 8]], [[0, 0]]])}, [False, False, True])
    features = {"mse": np.array([[[1.0, 9]], [[5, 5]], [[3, 7]]])}
    # similarities are minus the errors; largest of the non-members -4 and -2: mean -3, std 1
    assert attack.score(features, calibration).tolist() == [2.0, -2.0, 0.0]
    mean = replace(attack, decision="mean")
    # means of the non-members are -5 and -5: no spread, so they are centred alone
    assert mean.score(features, calibration).tolist() == [0.0, 0.0, 0.0]
    attack_fixtures.assert_row_by_row(attack, features, calibration)
    assert query_fields(attack) == query_fields(mean)


def test_the_classifier_sees_no_order_of_noises():
    draw = np.random.default_rng(0)
    member = np.arange(60) % 2 == 0
    similar = draw.uniform(1, 2, (60, 1, 4))
    similar[member] -= 0.8
    attack = replace(SHORT, views=("caption",), decision="classifier")
    calibration = known({"mse": similar}, member)
    row = {"mse": np.array([[[0.4, 0.9, 0.6, 0.5]], [[1.9, 1.2, 1.5, 1.7]]])}
    scores = attack.score(row, calibration)
    assert scores[0] > 0.5 > scores[1]
    turned = {"mse": row["mse"][:, :, ::-1]}
    assert np.array_equal(attack.score(turned, calibration), scores)
    assert (attack.least_rows, SHORT.least_rows) == (2, 0)


@torch.no_grad()
def test_the_stream_of_the_caption_equals_its_formula(literal, measure, tmp_path):
    clip = small_open_clip(tmp_path)
    attack = replace(SHORT, views=("caption",), clip=clip, caption_stream=True)
    found = measure(attack, literal.target, literal.batch)["caption_gap"]
    assert found.shape == (4, 1, 2)
    for i in literal.rows:
        caption, image = literal.batch.caption[i], literal.batch.image[i]
        fits = caption_fit([caption], clip, torch.device("cpu"))
        for j in range(2):
            picture = literal_picture(literal, i, caption, j, 1.0)
            expected = (fits(picture[None]) - fits(image[None])).item()
            assert found[i, 0, j] == pytest.approx(expected, abs=2e-4)
    attack.fetch()
    with pytest.raises(MiaError, match="open_clip weights"):
        replace(attack, clip="ViT-B-32/none_of_these").fetch()


def test_the_classifier_takes_both_streams():
    draw = np.random.default_rng(0)
    member = np.arange(60) % 2 == 0
    gap = draw.normal(size=(60, 1, 4)) + 2 * member[:, None, None]
    attack = replace(SHORT, views=("caption",), decision="classifier", caption_stream=True)
    calibration = known({"mse": np.ones((60, 1, 4)), "caption_gap": gap}, member)
    rows = {"mse": np.ones((2, 1, 4)), "caption_gap": np.array([[[3, 2, 1, 2.0]], [[-1, 0, 0, 0]]])}
    scores = attack.score(rows, calibration)
    assert scores[0] > 0.5 > scores[1]
    rows["caption_gap"] = rows["caption_gap"][:, :, ::-1]
    assert np.array_equal(attack.score(rows, calibration), scores)


@torch.no_grad()
def test_evidence_is_the_image_and_the_picture_most_like_it(literal, measure):
    images = SHORT.evidence(literal.target, literal.batch)
    assert list(images) == ["original", "generated", "most alike"]
    errors = (images["most alike"] - images["original"]).square().flatten(1).mean(1)
    found = measure(SHORT, literal.target, literal.batch)["mse"]
    np.testing.assert_allclose(errors, found.reshape(4, -1).min(1), rtol=2e-3)
    assert isinstance(SHORT, ProducesEvidence)


def test_it_says_what_it_costs_and_by_what_it_compares():
    assert isinstance(SHORT, HasRemark)
    assert GenSim().remark == (
        "generates 4 pictures an image in 20 steps from caption: 80 U-Net evaluations; compared by "
        "latents of the bundled tiny autoencoder"
    )
    assert "at guidance 7.5" in GenSim(guidance=7.5).remark


@pytest.mark.parametrize(
    "options",
    [{"views": ()}, {"views": ("style", "style")}, {"n_images": 0}, {"compare": "lpips"}],
)
def test_refused(options):
    with pytest.raises(ValueError, match=r"needed|at least|not measured"):
        GenSim(**options)


def test_steps_that_do_not_fit_are_refused_in_the_plan():
    with pytest.raises(MiaError, match="steps=20 do not fit into a schedule of 10"):
        GenSim().check(10, 64)


def test_yaml(experiment):
    attacks = experiment("attack=[gen_sim,gen_sim_vec,gen_sim_views]").attacks
    views = GenSim(views=("synonyms", "style", "framing"), n_images=3)
    assert attacks == {
        "gen_sim": GenSim(),
        "gen_sim_vec": GenSim(decision="classifier"),
        "gen_sim_views": views,
    }


def test_a_model_without_text_is_refused_with_attacks_that_work(experiment):
    with pytest.raises(MiaError, match=r"attack gen_sim: captions are needed.*img2img") as caught:
        experiment("attack=gen_sim", "model=ddpm")
    assert "gen_sim_vec" not in str(caught.value)
