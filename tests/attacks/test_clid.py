"""clid.py against single questions, sklearn's scaler, and a search over alpha by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score
from sklearn.preprocessing import RobustScaler
from torch import nn

from mia_bench.attacks import Calibration, query_fields, score_fields
from mia_bench.attacks.clid import CLiD
from mia_bench.attacks.components.caption_reductions import character_thirds, word_thirds
from mia_bench.target import Batch
from mia_bench.target.diffusion import keyed_noise
from mia_bench.utils.errors import MiaError
from mia_bench.utils.rng import keyed_generator

ROOTS = np.linspace(0.00085**0.5, 0.012**0.5, 1000)
ABAR = np.cumprod(1 - ROOTS**2)


def literal_conditions(reduction: str, caption: str) -> list[str]:
    parts: dict[str, Any] = {"thirds": word_thirds, "characters": character_thirds}
    reduced = parts[reduction](caption) if reduction in parts else ()
    return [caption, *reduced, ""]


def literal_texts(caption: str, rates: Any, blank: str, text: Any) -> list[str]:
    """Importance clipping of one caption, word by word: the released rule on our weights."""
    words = caption.split()
    full = text.embed([caption])[0][0].double().mean(0)
    weights = []
    for i in range(len(words)):
        rest = text.embed([" ".join(words[:i] + words[i + 1 :])])[0][0].double().mean(0)
        weights.append(1 - float(full @ rest / (full.norm() * rest.norm())))
    falling = sorted(weights, reverse=True)
    clipped = []
    for rate in rates if words else ():
        least = falling[int(rate * len(words) - 0.01)] - 1e-7
        kept = [blank if w >= least else x for x, w in zip(words, weights, strict=True)]
        clipped.append(" ".join(word for word in kept if word))
    return clipped or [caption] * len(rates)


def known(n: int = 80, gain: float = 0.6, seed: int = 0) -> Calibration:
    """Losses (n, 5, 3) whose members have lower ones under their captions."""
    rng = np.random.default_rng(seed)
    member = np.arange(n) % 2 == 0
    loss = rng.gamma(9.0, 0.1, size=(n, 1, 1)) + rng.normal(0, 0.1, size=(n, 5, 3))
    loss[member, 0] -= 0.1 * gain
    loss[~member, 1:] -= 0.2 * gain * rng.random((len(member) - member.sum(), 4, 1))
    group = np.array([f"g{i}" for i in range(n)])
    return Calibration({"loss": loss.astype(np.float32)}, member, group)


def literal_terms(features: Any) -> Any:
    """(N, 2): mean_i D_i and L, row by row in python floats."""
    rows = []
    for row in features["loss"]:
        level = [sum(float(x) for x in condition) / len(condition) for condition in row]
        d = [level[i] - level[0] for i in range(1, len(level))]
        rows.append([sum(d) / len(d), -level[0]])
    return np.array(rows)


# --- features ------------------------------------------------------------------------------------


@pytest.mark.first_look
@torch.no_grad()
@pytest.mark.parametrize("kind", ["epsilon", "v_prediction"])
@pytest.mark.parametrize("reduction", ["thirds", "characters", "none"])
def test_features_are_literal_losses(
    reduction: Any, kind: str, random_target: Any, random_batch: Any
) -> None:
    target, drawn = random_target(kind), random_batch(3)
    batch = Batch(drawn.sample_id, drawn.image, ("lumep", "", drawn.caption[2]))
    attack = CLiD(timesteps=(440, 460), reduction=reduction)
    found = attack.features(target, batch)["loss"].numpy()
    assert found.shape == (3, 2 if reduction == "none" else 5, 2)
    for i, sid in enumerate(batch.sample_id):
        z0 = target.latents.encode(batch.image[i : i + 1])
        for k, text in enumerate(literal_conditions(reduction, batch.caption[i])):
            hidden, _ = target.text.embed([text])
            for j, t in enumerate((440, 460)):
                a, b = ABAR[t] ** 0.5, (1 - ABAR[t]) ** 0.5
                e = keyed_noise(0, sid, t, 0, (1, 4, 8, 8))  # one noise for every condition
                z_t = (a * z0 + b * e).float()
                eps = target.unet(z_t, torch.tensor([t]), encoder_hidden_states=hidden).sample
                if kind == "v_prediction":
                    eps = a * eps + b * z_t
                assert found[i, k, j] == pytest.approx(((eps - e) ** 2).mean().item(), rel=1e-4)


@pytest.mark.first_look
@torch.no_grad()
@pytest.mark.parametrize("kind", ["epsilon", "v_prediction"])
@pytest.mark.parametrize("how", ["pad", "drop", "gaussian"])
def test_clipped_and_noised_captions_give_literal_losses(
    how: Any, kind: str, random_target: Any, random_batch: Any
) -> None:
    target, drawn, rates = random_target(kind), random_batch(3), (0.3, 0.5, 0.7)
    batch = Batch(drawn.sample_id, drawn.image, ("lumep", "", drawn.caption[2]))
    attack = (
        CLiD((440, 460), "gaussian", rates)
        if how == "gaussian"
        else CLiD((440, 460), "importance", rates, clipped=how)
    )
    found = attack.features(target, batch)["loss"].numpy()
    assert found.shape == (3, 5, 2)
    for i, sid in enumerate(batch.sample_id):
        z0, caption = target.latents.encode(batch.image[i : i + 1]), batch.caption[i]
        full, null = (target.text.embed([text])[0] for text in (caption, ""))
        if how == "gaussian":
            reduced = []
            for draw, r in enumerate(rates):
                n = keyed_generator(0, "text", sid, draw).standard_normal((6, 16), np.float32)
                reduced.append((1 - r) * full + r * full.std() * torch.tensor(n)[None])
        else:
            blank = "<|endoftext|>" if how == "pad" else ""
            texts = literal_texts(caption, rates, blank, target.text)
            reduced = [target.text.embed([text])[0] for text in texts]
        for k, hidden in enumerate([full, *reduced, null]):
            for j, t in enumerate((440, 460)):
                a, b = ABAR[t] ** 0.5, (1 - ABAR[t]) ** 0.5
                e = keyed_noise(0, sid, t, 0, (1, 4, 8, 8))
                z_t = (a * z0 + b * e).float()
                eps = target.unet(z_t, torch.tensor([t]), encoder_hidden_states=hidden).sample
                if kind == "v_prediction":
                    eps = a * eps + b * z_t
                assert found[i, k, j] == pytest.approx(((eps - e) ** 2).mean().item(), rel=1e-4)


def test_words_are_clipped_by_the_tokenizers_own_padding(
    random_target: Any, random_batch: Any
) -> None:
    target, batch, seen = random_target(), random_batch(1), []
    target.text.pad_token = "<pad>"
    embed = target.text.embed
    target.text.embed = lambda texts: seen.extend(texts) or embed(texts)
    CLiD(reduction="importance", rates=(1.0,)).features(target, batch)
    assert " ".join(["<pad>"] * 6) in seen


def test_a_network_that_answers_the_caption_can_be_worked_out(
    random_target: Any, random_batch: Any
) -> None:
    """eps_hat = q(c) everywhere: D_i = q_i^2 - q^2 - 2 <e> (q_i - q), L = -<(q - e)^2>."""

    class Answer(nn.Module):
        def forward(self, z: Any, t: Any, encoder_hidden_states: Any, **_: Any) -> Any:
            q = encoder_hidden_states.mean(dim=(1, 2))
            return (q.view(-1, 1, 1, 1).expand_as(z),)

    target, batch = random_target(unet=Answer()), random_batch(2)
    attack = CLiD()
    features = {k: v.numpy() for k, v in attack.features(target, batch).items()}
    for i, sid in enumerate(batch.sample_id):
        texts = literal_conditions("thirds", batch.caption[i])
        q = [target.text.embed([text])[0].double().mean().item() for text in texts]
        e = torch.stack([keyed_noise(0, sid, t, 0, (256,)) for t in (440, 450, 460)]).double()
        d = [x**2 - q[0] ** 2 - 2 * e.mean().item() * (x - q[0]) for x in q[1:]]
        found = literal_terms(features)[i]
        assert found[0] == pytest.approx(np.mean(d), abs=1e-6)
        assert found[1] == pytest.approx(-((q[0] - e) ** 2).mean().item(), rel=1e-5)


@pytest.mark.parametrize(
    ("caption", "reduction", "conditions"),
    [
        ("a b c d e f", "thirds", 5),
        ("a b c", "thirds", 5),
        ("a b", "thirds", 4),  # its last third is empty: the null condition
        ("a", "thirds", 2),  # its first third is the caption
        ("a a a", "thirds", 3),
        ("", "thirds", 1),
        ("abc", "characters", 5),
        ("ab", "characters", 4),
        ("a", "characters", 2),
        ("a b c d e f", "none", 2),
        ("", "none", 1),
    ],
)
@torch.no_grad()
def test_conditions_that_coincide_are_asked_once(
    caption: str, reduction: Any, conditions: int, random_target: Any, random_batch: Any
) -> None:
    target, drawn = random_target(), random_batch(2)
    batch = Batch(drawn.sample_id, drawn.image, (caption, "u v w x y z"))
    attack = CLiD(reduction=reduction)
    attack.features(target, batch)
    full = attack.nfe[0]
    assert full == (6 if reduction == "none" else 15)
    assert target.queries["forward"] == target.queries["asked"] == 3 * conditions + full


def test_coinciding_conditions_have_equal_losses(random_target: Any, random_batch: Any) -> None:
    target, drawn = random_target(), random_batch(1)
    batch = Batch(drawn.sample_id, drawn.image, ("lumep",))
    with torch.no_grad():
        loss = CLiD().features(target, batch)["loss"][0]
    assert torch.equal(loss[1], loss[0])
    assert torch.equal(loss[2], loss[4])
    assert torch.equal(loss[3], loss[4])


# --- the threshold rule --------------------------------------------------------------------------


@pytest.mark.parametrize("alpha", [0.0, 0.3, 1.0])
def test_scaling_is_that_of_sklearn_on_calibration_rows(alpha: float) -> None:
    calibration, other = known(), known(30, seed=1).features
    scaler = RobustScaler().fit(literal_terms(calibration.features))
    scaled = scaler.transform(literal_terms(other))
    expected = alpha * scaled[:, 0] + (1 - alpha) * scaled[:, 1]
    np.testing.assert_allclose(CLiD(alpha=alpha).score(other, calibration), expected, rtol=1e-9)
    assert CLiD(alpha=alpha).chosen(calibration) == {"alpha": alpha}


@pytest.mark.parametrize("seed", range(6))
def test_alpha_is_the_best_on_calibration_rows(seed: int) -> None:
    calibration, other = known(seed=seed, gain=0.4), known(30, seed=100 + seed).features
    scaler = RobustScaler().fit(literal_terms(calibration.features))
    scaled = scaler.transform(literal_terms(calibration.features))
    areas = {}
    for tenth in range(11):
        alpha = tenth / 10
        mixed = alpha * scaled[:, 0] + (1 - alpha) * scaled[:, 1]
        areas[alpha] = roc_auc_score(calibration.is_member, mixed)
    ties = [alpha for alpha, area in areas.items() if area >= max(areas.values()) - 1e-12]
    best = ties[len(ties) // 2]
    assert CLiD().chosen(calibration) == {"alpha": best}
    np.testing.assert_array_equal(
        CLiD().score(other, calibration), CLiD(alpha=best).score(other, calibration)
    )


def test_seeds_above_choose_different_alphas() -> None:
    chosen = {CLiD().chosen(known(seed=seed, gain=0.4))["alpha"] for seed in range(6)}
    assert len(chosen) > 2


def test_a_constant_column_is_not_divided_by_zero() -> None:
    """D is zero wherever every caption is empty."""
    rng = np.random.default_rng(0)
    loss = np.repeat(rng.random((20, 1, 3)), 5, axis=1).astype(np.float32)
    calibration = Calibration({"loss": loss}, np.arange(20) % 2 == 0, np.arange(20).astype(str))
    scaled = RobustScaler().fit_transform(literal_terms(calibration.features))
    found = CLiD(alpha=0.5).score(calibration.features, calibration)
    np.testing.assert_allclose(found, 0.5 * scaled[:, 0] + 0.5 * scaled[:, 1], atol=1e-12)
    assert np.isfinite(CLiD().score(calibration.features, calibration)).all()


def test_members_score_higher() -> None:
    """Lower loss under the caption and a larger loss without it are both signs of a member."""
    calibration = known()
    row = np.full((3, 5, 3), 1.0, dtype=np.float32)
    row[1, 0] -= 0.2
    row[2, 1:] += 0.2
    for alpha in (0.3, None):
        scores = CLiD(alpha=alpha).score({"loss": row}, calibration)
        assert scores[1] > scores[0]
    assert CLiD(alpha=0.3).score({"loss": row}, calibration)[2] > scores[0]


# --- the classifier ------------------------------------------------------------------------------


def test_classifier_is_the_released_one() -> None:
    from xgboost import XGBClassifier

    calibration, other = known(), known(30, seed=1).features
    options = {"gamma": 0.7, "max_depth": 3, "subsample": 0.7, "colsample_bytree": 0.7}
    trees = XGBClassifier(
        n_estimators=20, reg_alpha=1, reg_lambda=1, random_state=0, n_jobs=1, **options
    )

    def vector(features: Any) -> Any:
        level = features["loss"].astype(np.float64).mean(axis=2)
        return np.stack([*(level[:, i] - level[:, 0] for i in range(1, 5)), -level[:, 0]], axis=1)

    trees.fit(vector(calibration.features), calibration.is_member.astype(int))
    expected = trees.predict_proba(vector(other))[:, 1]
    found = CLiD(decision="classifier").score(other, calibration)
    np.testing.assert_array_equal(found, expected)
    assert found.dtype == np.float64
    np.testing.assert_array_equal(found, CLiD(decision="classifier").score(other, calibration))
    assert CLiD(decision="classifier").chosen(calibration) == {}


def test_a_classifier_needs_rows() -> None:
    few, attack = known(7), CLiD(decision="classifier")  # 4 members, 3 others
    with pytest.raises(MiaError, match="4 members and 3 non-members are left"):
        attack.score(few.features, few)
    assert attack.least_rows == 4
    assert CLiD().least_rows == 0


def test_classifier_uses_the_seed_of_the_calibration() -> None:
    calibration, other = known(), known(30, seed=1).features
    seeded = Calibration(calibration.features, calibration.is_member, calibration.group, 7)
    attack = CLiD(decision="classifier")
    assert not np.array_equal(attack.score(other, calibration), attack.score(other, seeded))


@pytest.mark.parametrize("decision", ["threshold", "classifier"])
@pytest.mark.parametrize("reduction", ["thirds", "none"])
def test_rows_are_scored_one_by_one(decision: Any, reduction: Any) -> None:
    calibration, other = known(), known(40, seed=1).features
    if reduction == "none":
        other = {"loss": other["loss"][:, [0, 4]]}
        features = {"loss": np.asarray(calibration.features["loss"])[:, [0, 4]]}
        calibration = Calibration(features, calibration.is_member, calibration.group)
    attack = CLiD(decision=decision, reduction=reduction)
    scores = attack.score(other, calibration)
    assert scores.shape == (40,)
    rows = np.array([7, 3, 3, 39])
    np.testing.assert_array_equal(
        attack.score({"loss": other["loss"][rows]}, calibration), scores[rows]
    )


# --- options -------------------------------------------------------------------------------------


def test_decisions_share_their_features() -> None:
    threshold, classifier = CLiD(alpha=0.2), CLiD(decision="classifier")
    assert query_fields(threshold) == query_fields(classifier)
    assert score_fields(threshold) == {"decision": "threshold", "alpha": 0.2}
    assert query_fields(CLiD(reduction="none")) != query_fields(threshold)


def test_options_that_came_later_leave_the_identity_of_stored_features_alone() -> None:
    assert query_fields(CLiD()) == {"timesteps": (440, 450, 460), "reduction": "thirds"}
    assert query_fields(CLiD(reduction="importance", rates=(0.3,), clipped="drop")) == {
        "timesteps": (440, 450, 460),
        "reduction": "importance",
        "rates": (0.3,),
        "clipped": "drop",
    }


def test_without_captions_there_is_nothing_to_compare(
    random_target: Any, random_batch: Any
) -> None:
    drawn = random_batch(2)
    batch = Batch(drawn.sample_id, drawn.image, ("", ""))
    for attack in (CLiD(), CLiD(reduction="importance", rates=(0.5,))):
        assert attack.needs_captions
        with torch.no_grad():
            loss = attack.features(random_target(), batch)["loss"].numpy()
        np.testing.assert_array_equal(literal_terms({"loss": loss})[:, 0], 0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"timesteps": ()}, "at least one timestep"),
        ({"reduction": "importance"}, "need rates"),
        ({"rates": (0.5,)}, "the others have none"),
        ({"reduction": "gaussian", "rates": (0.0, 0.5)}, r"must lie in \(0, 1\], each once"),
        ({"reduction": "gaussian", "rates": (0.5, 0.5)}, "each once"),
        ({"alpha": 1.1}, "alpha=1.1"),
        ({"alpha": -0.1}, "alpha=-0.1"),
    ],
)
def test_nonsense_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        CLiD(**options)
