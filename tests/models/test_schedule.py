"""Schedules are read as diffusers builds them; what has no betas or no meaning is refused."""

from __future__ import annotations

import inspect
import json
import shutil

import diffusers
import pytest
import torch

from mia_bench.models.hub import BUNDLED
from mia_bench.models.schedule import (
    BETA_SCHEDULERS,
    DEFAULTS,
    SAMPLER_OPTIONS,
    alphas_cumprod,
    read_schedule,
    schedule_key,
    schedule_steps,
    steps_with_signal,
)
from mia_bench.models.stable_diffusion import StableDiffusion
from mia_bench.target.schedule import Schedule
from mia_bench.utils.errors import MiaError

SD1 = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}


def test_no_option_of_a_scheduler_that_is_read_is_unknown():
    """As diffusers writes them today, and as it wrote them in 2022."""
    for kind in BETA_SCHEDULERS:
        signature = inspect.signature(getattr(diffusers, kind).__init__)
        options = signature.parameters.keys() - {"self", "args", "kwargs"}
        assert options <= {*DEFAULTS, *SAMPLER_OPTIONS}, kind
    older = {"timestep_values": None, "tensor_format": "pt", "predict_epsilon": True}
    assert read_schedule({**SD1, **older}, "m") == read_schedule(SD1, "m")


@pytest.mark.first_look
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
@pytest.mark.parametrize("kind", [k for k in BETA_SCHEDULERS if k != "DPMSolverSDEScheduler"])
@pytest.mark.parametrize("options", [SD1, {}])
def test_every_scheduler_that_is_read_has_these_betas(kind, options):
    """Also where its configuration says nothing: with that scheduler's own defaults."""
    own = getattr(diffusers, kind)(**options)
    found = alphas_cumprod(read_schedule({"_class_name": kind, **options}, "m"))
    torch.testing.assert_close(found, own.alphas_cumprod.float(), atol=1e-6, rtol=1e-5)


def test_trained_betas_and_zero_terminal_noise():
    betas = [0.1, 0.2, 0.3]
    schedule = read_schedule({"trained_betas": betas}, "m")
    assert schedule_steps(schedule) == 3
    expected = torch.tensor([0.9, 0.9 * 0.8, 0.9 * 0.8 * 0.7])
    torch.testing.assert_close(alphas_cumprod(schedule), expected)
    zero = read_schedule({**SD1, "rescale_betas_zero_snr": True}, "m")
    assert alphas_cumprod(zero)[-1] == 0
    assert schedule_key(zero) == {"rescale_betas_zero_snr": True}
    assert schedule_key(read_schedule(SD1, "m")) == {}


@pytest.mark.parametrize(
    "options",
    [
        SD1,
        {"rescale_betas_zero_snr": True},
        {"trained_betas": [0.1, 0.2, 1.0, 0.1]},
        {"trained_betas": [0.1, 0.2, 0.3], "rescale_betas_zero_snr": True},
        {"beta_end": 1.0, "num_train_timesteps": 10},
        {"beta_end": 1.0, "num_train_timesteps": 10, "beta_schedule": "squaredcos_cap_v2"},
    ],
)
def test_where_a_schedule_becomes_pure_noise_is_told_without_its_table(options):
    schedule = read_schedule(options, "m")
    assert steps_with_signal(schedule) == Schedule(alphas_cumprod(schedule)).timesteps_with_signal


REFUSED = [
    ({"_class_name": "FlowMatchEulerDiscreteScheduler"}, "has a FlowMatchEulerDiscreteScheduler"),
    ({"_class_name": "EDMEulerScheduler"}, "has a EDMEulerScheduler, which has no table of betas"),
    ({"_class_name": "DDPMWuerstchenScheduler"}, "DDPMWuerstchenScheduler"),
    ({"prediction_type": "sample"}, "prediction_type=sample .* epsilon or v_prediction are read"),
    ({"prediction_type": "flow_prediction"}, "epsilon or v_prediction are read"),
    ({"prediction_type": "epsilom"}, "Did you mean 'epsilon'"),
    ({"prediction_type": "v-prediction"}, "Did you mean 'v_prediction'"),
    ({"beta_schedule": "scaled-linear"}, "Did you mean 'scaled_linear'"),
    ({"rescale_betas_zero_snr": "false"}, "rescale_betas_zero_snr='false'.* true or false"),
    ({"prediction_type": None}, "prediction_type=None"),
    ({"use_flow_sigmas": True}, "has use_flow_sigmas"),
    ({"timestep_type": "continuous"}, "has timestep_type=continuous"),
    ({"predict_epsilon": False}, "predict_epsilon=false .* older word for prediction_type=sample"),
    ({"snr_shift_scale": 3.0}, "has the option snr_shift_scale .* cannot be told"),
    ({"beta_start": -1}, "betas between 0 and 1"),
    ({"num_train_timesteps": 0}, "two timesteps or more"),
]


@pytest.mark.parametrize(("change", "message"), REFUSED)
def test_what_has_no_meaning_is_refused_in_the_plan(change, message, experiment, tmp_path):
    from mia_bench.planning.make_plan import make_plan

    shutil.copytree(BUNDLED / "tiny", tmp_path / "tiny")
    path = tmp_path / "tiny" / "scheduler" / "scheduler_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    for part in ("unet", "vae", "text_encoder"):  # nothing of them is read before
        for file in (tmp_path / "tiny" / part).glob("*.safetensors"):
            file.write_bytes(b"not weights")
    with pytest.raises(MiaError, match=message):
        StableDiffusion(str(tmp_path / "tiny"), 64).base_hash()
    if change == REFUSED[0][0]:
        run = experiment(f"model.path={tmp_path / 'tiny'}", "plan_only=true")
        with pytest.raises(MiaError, match=message):
            make_plan(run)


def test_a_note_of_defaults_that_is_no_list_says_nothing():
    usual = read_schedule(SD1, "m")
    assert read_schedule({**SD1, "_use_default_values": 5}, "m") == usual


def test_the_resolution_is_the_models_own(tmp_path):
    shutil.copytree(BUNDLED / "tiny", tmp_path / "m")
    given, own = (StableDiffusion(str(tmp_path / "m"), side) for side in (64, None))
    assert own.sized() == given
    assert (own.base_hash(), own.encoder_hash()) == (given.base_hash(), given.encoder_hash())
    assert own.build(own.load_unet(), seed=0).latent_shape == (4, 16, 16)
    path = tmp_path / "m" / "unet" / "config.json"
    config = json.loads(path.read_text())
    for size, side in ((96, 384), (128, 512)):
        path.write_text(json.dumps({**config, "sample_size": size}))
        assert own.side == side
        assert given.side == 64
    for size in (None, [8, 16], "64"):
        path.write_text(json.dumps({**config, "sample_size": size}))
        with pytest.raises(MiaError, match=r"says no resolution: give it"):
            own.encoder_hash()


@pytest.mark.long
def test_the_plan_says_the_resolution_it_took(experiment, tmp_path):
    from mia_bench.planning.describe import describe_plan
    from mia_bench.planning.make_plan import make_plan

    run = experiment(
        "model=diffusers", "model.path=bundled:tiny", f"paths.outputs={tmp_path}", "plan_only=true"
    )
    plan = make_plan(run)
    assert plan.experiment.model.resolution == 64
    assert "model.resolution=64, from the model's own files" in list(describe_plan(plan))


@pytest.mark.long
def test_a_variant_that_no_part_has_is_refused(pipelines, tmp_path):
    folder = pipelines.save_pipeline(tmp_path / "m", "sd1", dtype=torch.float16, variant="fp16")
    plain = pipelines.save_pipeline(tmp_path / "plain", "sd1")
    with pytest.raises(MiaError, match=r"model\.variant=fp16: no part .* plain weights alone"):
        StableDiffusion(str(plain), 64, variant="fp16").base_hash()
    for file in (plain / "unet").glob("*.safetensors"):
        shutil.copy(file, folder / "unet")
    for part in ("vae", "text_encoder"):
        for file in (plain / part).glob("*.safetensors"):
            shutil.copy(file, folder / part)
    with pytest.raises(MiaError, match=r"model\.variant=pf16: no part .* Did you mean 'fp16'"):
        StableDiffusion(str(folder), 64, variant="pf16").base_hash()
    (folder / "vae" / "diffusion_pytorch_model.fp16.safetensors").unlink()
    StableDiffusion(str(folder), 64, variant="fp16").base_hash()  # the plain one is read
