"""The noise schedule that a model was trained on, from its scheduler's configuration.

A folder names the sampler that is to be used, and most of them share one table of betas. Those that
do not (flow matching, EDM, cascades) are refused by name: on betas a U-Net of theirs would be asked
at noise levels it never saw, and every score would be a number about nothing.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from mia_bench.utils.errors import MiaError
from mia_bench.utils.text import nearest

if TYPE_CHECKING:
    from torch import Tensor

STABLE_DIFFUSION = {  # what a key without a schedule stands for
    "num_train_timesteps": 1000,
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "trained_betas": None,
    "prediction_type": "epsilon",
    "rescale_betas_zero_snr": False,
}
DEFAULTS = {  # of diffusers' schedulers, for what a configuration does not say
    **STABLE_DIFFUSION,
    "beta_start": 0.0001,
    "beta_end": 0.02,
    "beta_schedule": "linear",
}
BETA_SCHEDULERS = (  # the schedulers of diffusers that share the betas of DDPM
    *("DDPMScheduler", "DDPMParallelScheduler", "DDIMScheduler", "DDIMParallelScheduler"),
    *("DDIMInverseScheduler", "PNDMScheduler", "LMSDiscreteScheduler", "EulerDiscreteScheduler"),
    *("EulerAncestralDiscreteScheduler", "HeunDiscreteScheduler", "KDPM2DiscreteScheduler"),
    *("KDPM2AncestralDiscreteScheduler", "DPMSolverMultistepScheduler", "DEISMultistepScheduler"),
    *("DPMSolverMultistepInverseScheduler", "DPMSolverSinglestepScheduler", "SASolverScheduler"),
    *("DPMSolverSDEScheduler", "UniPCMultistepScheduler", "LCMScheduler", "TCDScheduler"),
)
LINEAR_STABLE_DIFFUSION = {**STABLE_DIFFUSION, "beta_schedule": "linear"}
OWN_DEFAULTS = {  # of schedulers whose defaults are others
    "LCMScheduler": STABLE_DIFFUSION,
    "TCDScheduler": STABLE_DIFFUSION,
    "HeunDiscreteScheduler": LINEAR_STABLE_DIFFUSION,
    "KDPM2DiscreteScheduler": LINEAR_STABLE_DIFFUSION,
    "KDPM2AncestralDiscreteScheduler": LINEAR_STABLE_DIFFUSION,
    "DPMSolverSDEScheduler": LINEAR_STABLE_DIFFUSION,
}
SAMPLER_OPTIONS = {  # of these schedulers: where a sampler stops and what it clips, no betas
    *("algorithm_type", "clip_sample", "clip_sample_range", "corrector_order"),
    *("disable_corrector", "dynamic_thresholding_ratio", "euler_at_final", "final_sigmas_type"),
    *("flow_shift", "interpolation_type", "lambda_min_clipped", "lower_order_final"),
    *("original_inference_steps", "predict_x0", "predictor_order", "sample_max_value"),
    *("set_alpha_to_one", "shift_terminal", "sigma_max", "sigma_min", "skip_prk_steps"),
    *("solver_order", "solver_p", "solver_type", "steps_offset", "tau_func", "thresholding"),
    *("time_shift_type", "timestep_scaling", "timestep_spacing", "timestep_type"),
    *("use_beta_sigmas", "use_dynamic_shifting", "use_exponential_sigmas", "use_flow_sigmas"),
    *("use_karras_sigmas", "use_lu_lambdas", "variance_type"),
    *("predict_epsilon", "tensor_format", "timestep_values"),  # of diffusers before 0.10
}
PREDICTIONS = ("epsilon", "v_prediction")
BETA_SCHEDULES = ("linear", "scaled_linear", "squaredcos_cap_v2", "sigmoid")
WAY_OUT = (
    "A model that was trained on betas may be given them: replace its scheduler's folder by that "
    "of the model it was fine-tuned from. Models trained otherwise are not read."
)


def read_schedule(config: Mapping[str, Any], path: str) -> dict[str, Any]:
    """What decides alphas_cumprod and the prediction, with the scheduler's own defaults.

    Args:
        config: of scheduler/scheduler_config.json.
        path: the model's, for messages.

    Raises:
        MiaError: a scheduler without betas, or an option whose value has no meaning here.
    """
    kind = config.get("_class_name")
    if kind is not None and kind not in BETA_SCHEDULERS:
        raise MiaError(
            f"{path} has a {kind}, which has no table of betas known here: it is a model of flow "
            "matching, of EDM or of another convention. Read are models on the betas of DDPM "
            f"({', '.join(BETA_SCHEDULERS[:6])}, ...). {WAY_OUT}"
        )
    unsaid = config.get("_use_default_values")
    unsaid = unsaid if isinstance(unsaid, list) else []
    usual = OWN_DEFAULTS.get(str(kind), DEFAULTS)
    schedule = {
        k: default if k in unsaid else config.get(k, default) for k, default in usual.items()
    }
    _check_options(config, schedule, path)
    return schedule


def _check_options(config: Mapping[str, Any], schedule: Mapping[str, Any], path: str) -> None:
    prediction, betas = schedule["prediction_type"], schedule["beta_schedule"]
    if prediction not in PREDICTIONS:
        reason = nearest(str(prediction), PREDICTIONS)
        if prediction in ("sample", "flow_prediction"):
            reason = f"Models that predict {' or '.join(PREDICTIONS)} are read."
        raise MiaError(
            f"{path} has prediction_type={prediction} in scheduler/scheduler_config.json. {reason}"
        )
    if schedule["trained_betas"] is None and betas not in BETA_SCHEDULES:
        raise MiaError(
            f"{path} has beta_schedule={betas} in scheduler/scheduler_config.json. "
            f"{nearest(str(betas), BETA_SCHEDULES)}"
        )
    if not isinstance(schedule["rescale_betas_zero_snr"], bool):
        raise MiaError(
            f"{path} has rescale_betas_zero_snr={schedule['rescale_betas_zero_snr']!r} in "
            "scheduler/scheduler_config.json: true or false is needed."
        )
    if config.get("use_flow_sigmas") or config.get("timestep_type") == "continuous":
        option = "use_flow_sigmas" if config.get("use_flow_sigmas") else "timestep_type=continuous"
        raise MiaError(
            f"{path} has {option} set: its noise levels are no table of betas. {WAY_OUT}"
        )
    if config.get("predict_epsilon") is False:
        raise MiaError(
            f"{path} has predict_epsilon=false in scheduler/scheduler_config.json, an older word "
            f"for prediction_type=sample. Models that predict {' or '.join(PREDICTIONS)} are read."
        )
    known = {*schedule, *SAMPLER_OPTIONS}
    if unknown := [
        key
        for key in config
        if key not in known and not key.startswith("_") and not key.endswith("_version")
    ]:
        raise MiaError(
            f"{path} has the option {unknown[0]} in scheduler/scheduler_config.json, which no "
            "scheduler with the betas of DDPM has: what it does to the noise levels cannot be "
            "told. Take the option out if it has no effect."
        )
    _check_numbers(schedule, path)


def _check_numbers(schedule: Mapping[str, Any], path: str) -> None:
    """The betas lie between 0 and 1, and there are some."""
    trained = schedule["trained_betas"]
    betas = [schedule["beta_start"], schedule["beta_end"]] if trained is None else trained
    steps = schedule["num_train_timesteps"]
    numbers = isinstance(betas, list) and all(
        isinstance(b, int | float) and math.isfinite(b) and 0 < b <= 1 for b in betas
    )
    if not (numbers and betas and isinstance(steps, int) and steps > 1):
        raise MiaError(
            f"{path} has no schedule in scheduler/scheduler_config.json that can be used: betas "
            f"between 0 and 1 and two timesteps or more are needed. Found {dict(schedule)}."
        )


def schedule_key(schedule: Mapping[str, Any]) -> dict[str, Any]:
    """What is not as in Stable Diffusion 1: the part of a schedule that is in a key."""
    return {k: v for k, v in schedule.items() if v != STABLE_DIFFUSION[k]}


def schedule_steps(schedule: Mapping[str, Any]) -> int:
    trained = schedule["trained_betas"]
    return int(schedule["num_train_timesteps"]) if trained is None else len(trained)


def steps_with_signal(schedule: Mapping[str, Any]) -> int:
    """Timesteps up to the last one with some of the image left: fewer than there are where betas
    reach 1, or were rescaled to end in pure noise (arXiv 2305.08891)."""
    steps, trained = schedule_steps(schedule), schedule["trained_betas"]
    if trained is None:
        grows_to_end = schedule["beta_schedule"] in ("linear", "scaled_linear")
        whole = steps - 1 if grows_to_end and schedule["beta_end"] >= 1 else steps
    else:
        whole = next((t for t, beta in enumerate(trained) if beta >= 1), steps)
    return min(whole, steps - 1) if schedule["rescale_betas_zero_snr"] else whole


def alphas_cumprod(schedule: Mapping[str, Any]) -> Tensor:
    """(T,) of a schedule, by diffusers' own scheduler."""
    from diffusers import DDPMScheduler

    alphas: Tensor = DDPMScheduler(**schedule).alphas_cumprod
    return alphas
