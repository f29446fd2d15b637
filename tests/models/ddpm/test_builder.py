"""A DDPM from scratch, as a model of a plan: keys, refusals, and a run with its reference."""

from __future__ import annotations

import pytest
import torch

from mia_bench.execution.run import execute
from mia_bench.execution.single_run import print_outcome
from mia_bench.models.ddpm.builder import DDPM
from mia_bench.storage.files import read_json
from mia_bench.storage.index import run_at
from mia_bench.utils.errors import MiaError
from mia_bench.verification.checks import checks
from mia_bench.verification.result import OK
from mia_bench.verification.stored_run import StoredRun

SMALL = (
    *("model=ddpm", "model.resolution=8", "model.widths=[8,16]", "model.attention=[4]"),
    *("model.norm_groups=4", "attack=[loss,noise_agg]", "data.sizes.shadow_nonmember=14"),
)


def test_keys_follow_network_seed_and_schedule():
    model = DDPM(None, 8, (8, 16), norm_groups=4)
    before = model.base_hash()
    assert DDPM(None, 8, (8, 16), norm_groups=4, chunk=3).base_hash() == before
    for changes in (
        *({"init_seed": 1}, {"beta_end": 0.01}, {"attention": (4,)}),
        *({"dtype": "bfloat16"}, {"dtype": "float16"}),
    ):
        assert DDPM(None, 8, (8, 16), norm_groups=4, **changes).base_hash() != before
    assert model.latent_side() == model.resolution == 8
    assert (model.timesteps(), model.timesteps_with_signal()) == (1000, 1000)
    assert DDPM(None, 8, (8, 16), norm_groups=4, beta_end=1.0).timesteps_with_signal() == 999
    assert model.unet_bytes() == 4 * sum(p.numel() for p in model.load_unet().parameters())


def test_target_and_shadow_start_from_weights_of_their_own():
    model = DDPM(None, 8, (8, 16), norm_groups=4)
    assert model.initialised_for("target") is model
    shadow = model.initialised_for("shadow")
    one, other = (m.load_unet().net.conv_in.weight for m in (model, shadow))
    assert not torch.equal(one, other)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["model.finetune=false", "calibration=split"], "model.path=null has random weights"),
        (["finetune.from_scratch=false"], "add finetune.from_scratch=true"),
        (["model.path=/somewhere"], "model.path names trained ones"),
        (["model=tiny", "finetune.from_scratch=true"], "StableDiffusion has no random weights"),
        (["calibration=split", "eval.base_calibrated=true"], "calibration=split has none"),
        (["model.resolution=10"], "resolution=10 does not fit 3 levels"),
        (["attack=[clid,loss]"], r"attack clid: captions are needed, and a DDPM .*\[loss\]"),
        (["attack=clid"], r"Attacks that work are 'attack=\[loss,"),
        (["eval.inapplicable=maybe"], r"eval\.inapplicable=maybe"),
    ],
)
def test_contradictions_are_refused_before_anything_is_loaded(experiment, overrides, message):
    with pytest.raises(MiaError, match=message):
        experiment("model=ddpm", "attack=loss", *overrides)


def test_all_attacks_leave_out_those_that_compare_captions(experiment):
    run = experiment("model=ddpm", "attack=all")
    assert {"loss", "noise_agg", "drc"} <= set(run.attacks)
    assert "clid" in run.left_out
    assert not set(run.left_out) & (set(run.attacks) | set(run.resolved["attack"]))


@pytest.fixture(scope="module")
def outcome(small, tmp_path_factory):
    outputs = tmp_path_factory.mktemp("ddpm")
    return execute(small(*SMALL, "eval.base_calibrated=true", outputs=outputs))


@pytest.mark.long
def test_the_shadow_is_the_control_and_is_subtracted(outcome):
    plan = outcome.plan
    assert set(outcome.metrics) == {
        *("loss", "loss-reference", "noise_agg", "noise_agg-reference"),
    }
    assert "reference" in outcome.metrics["loss"]["controls"]
    assert "base" not in outcome.metrics["loss"]["controls"]
    run = next(run for run in plan.runs if run.name == "loss-reference")
    assert run.base is not None
    assert run.base_calibration is not None
    assert (run.base.model.kind, run.base_calibration.model.kind) == ("shadow", "target")
    assert (run.base.sample_id, run.base_calibration.sample_id) == (
        run.evaluation.sample_id,
        run.calibration.sample_id,
    )


def test_reference_scores_are_the_target_minus_the_shadow(outcome):
    import pandas as pd

    plain = pd.read_parquet(outcome.folders["loss"] / "scores.parquet")
    reference = pd.read_parquet(outcome.folders["loss-reference"] / "scores.parquet")
    rows = ~plain.calibration
    expected = plain.score[rows] - plain.score_reference[rows]
    assert reference.score[rows].to_numpy() == pytest.approx(expected.to_numpy(), abs=1e-6)


def test_the_run_is_shown_and_verified(outcome, capsys):
    print_outcome(outcome)
    shown = capsys.readouterr().out
    assert "DDPM on openmoji" in shown
    assert "reference control" in shown
    for name in ("loss", "noise_agg-reference"):
        results = list(checks(StoredRun(run_at(outcome.folders[name]))))
        assert {check.state for check in results} == {OK}, results
    assert read_json(outcome.folders["loss"] / "metrics.json")["controls"]["reference"]["p_value"]
