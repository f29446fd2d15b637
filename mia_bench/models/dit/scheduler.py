"""The time convention of a flow-matching model, from its scheduler's configuration.

Rectified flow has one table of levels, sigma = t / 1000; what a scheduler adds (shifts, spacing) is
where its sampler stops. An option that would change what sigma means is refused, and so is one that
nobody here knows.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

import numpy as np
from torch import Tensor

from mia_bench.models.dit.family import TransformerFamily
from mia_bench.utils.errors import MiaError

EULER = "FlowMatchEulerDiscreteScheduler"
SOLVERS = ("DPMSolverMultistepScheduler", "UniPCMultistepScheduler")  # with use_flow_sigmas
TRAIN_TIMESTEPS = 1000  # what every family's pipeline divides by
CHANGES_LEVELS = ("invert_sigmas",)  # sigma would count the data
CONFIG_FILE = "scheduler/scheduler_config.json"


def check_flow(config: Mapping[str, Any], family: TransformerFamily, path: str) -> None:
    """Raises MiaError unless the scheduler's levels are sigma = t / 1000 of rectified flow."""
    kind = str(config.get("_class_name"))
    if kind in SOLVERS:
        flow = bool(config.get("use_flow_sigmas"))
        if not flow or config.get("prediction_type") != "flow_prediction":
            raise MiaError(
                f"{path} is a {family.pipeline} with a {kind} in {CONFIG_FILE} whose "
                f"use_flow_sigmas={config.get('use_flow_sigmas')} and prediction_type="
                f"{config.get('prediction_type')}: a model of flow matching needs true and "
                "flow_prediction. Take the scheduler's folder of the model it was fine-tuned from."
            )
    elif kind != EULER:
        raise MiaError(
            f"{path} is a {family.pipeline}, a model of flow matching, with a {kind} in "
            f"{CONFIG_FILE}: {EULER} is needed. Take the scheduler's folder of the model it was "
            "fine-tuned from; with betas its network would be told noise levels it never saw."
        )
    _check_options(config, kind, path)


def _check_options(config: Mapping[str, Any], kind: str, path: str) -> None:
    import diffusers

    known = inspect.signature(getattr(diffusers, kind).__init__).parameters
    unknown = [key for key in config if not key.startswith("_") and key not in known]
    if unknown:
        raise MiaError(
            f"{path} has the option {unknown[0]} in {CONFIG_FILE}, which the installed {kind} does "
            "not know: what it does to the noise levels cannot be told. Update diffusers, or take "
            "the option out if it has no effect."
        )
    for option in CHANGES_LEVELS:
        if config.get(option):
            raise MiaError(
                f"{path} has {option} set in {CONFIG_FILE}: its sigmas count data where noise is "
                "expected, which is not read."
            )
    steps = config.get("num_train_timesteps", TRAIN_TIMESTEPS)
    if steps != TRAIN_TIMESTEPS:
        raise MiaError(
            f"{path} has num_train_timesteps={steps} in {CONFIG_FILE}: {TRAIN_TIMESTEPS} is "
            "needed, by which the pipelines of diffusers scale the time that a network is told."
        )
    try:
        getattr(diffusers, kind).from_config(dict(config))
    except (ValueError, TypeError, ImportError, NotImplementedError) as error:
        raise MiaError(
            f"{path} has options in {CONFIG_FILE} that {kind} refuses: {error} Take the "
            "scheduler's folder of the model it was fine-tuned from."
        ) from error


def sampling_sigmas(
    config: Mapping[str, Any], family: TransformerFamily, shape: tuple[int, ...], steps: int
) -> Tensor:
    """(steps + 1,) falling sigmas, the last 0, at which the family's pipeline samples.

    Args:
        config: the scheduler's.
        shape: (C, h, w) of one image's latents, by which some schedulers shift.
        steps: of the sampler.
    """
    import diffusers

    scheduler = getattr(diffusers, str(config["_class_name"])).from_config(dict(config))
    options: dict[str, Any] = {}
    if config.get("use_dynamic_shifting"):
        length = family.sequence_length(shape)
        own = family.sampling_shift
        options["mu"] = own(length, steps) if own else dynamic_shift(config, length)
    if family.samples_sigmas:
        options["sigmas"] = np.linspace(1.0, 1 / steps, steps).tolist()
        scheduler.set_timesteps(**options)
    else:
        scheduler.set_timesteps(steps, **options)
    sigmas: Tensor = scheduler.sigmas
    return sigmas


def dynamic_shift(config: Mapping[str, Any], length: int) -> float:
    """mu of an image of `length` tokens, linear between two lengths (diffusers, as FLUX ships)."""
    least, most = config.get("base_image_seq_len", 256), config.get("max_image_seq_len", 4096)
    low, high = config.get("base_shift", 0.5), config.get("max_shift", 1.15)
    slope = (high - low) / (most - least)
    return float(length * slope + low - slope * least)
