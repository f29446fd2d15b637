"""Attacks asked for at a fraction of noise, and the levels at which they query a model.

`attack.loss.sigma=0.35` stands for the timestep whose noise fraction b / (a + b) is nearest on the
model's own schedule. It is replaced before the attack is built, so the same level has the same key
however it was given.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from mia_bench.utils.errors import MiaError

if TYPE_CHECKING:
    from mia_bench.attacks import FeatureExtractor
    from mia_bench.models import Model
    from mia_bench.target import Target

OPTION = "sigma"
TIME_FIELDS = ("timesteps", "t", "t_sec")
"""What attacks call the timesteps that they query at: one of these."""


@runtime_checkable
class TellsLevels(Protocol):
    """A model that says the noise fraction of its timesteps before it is loaded."""

    def sigmas(self) -> Sequence[float]: ...


def at_timesteps(node: Any, key: str, model: Model) -> Any:
    """An attack's `_target_` node with `sigma` replaced by timesteps of `model`.

    Attacks with a sigma of their own (noise_agg) keep it.

    Args:
        key: of the node, for messages.

    Raises:
        MiaError: an attack or model without levels, or a number that is no fraction.
    """
    if not isinstance(node, Mapping) or node.get(OPTION) is None:
        return node
    parameters = _parameters(node)
    if OPTION in parameters:
        return node
    field = next((name for name in TIME_FIELDS if name in parameters), None)
    if field is None:
        raise MiaError(
            f"{key}.{OPTION}: this attack has no one level that could be given; its own options "
            f"are {', '.join(parameters)}."
        )
    if not isinstance(model, TellsLevels):
        raise MiaError(
            f"{key}.{OPTION}: {type(model).__name__} does not say its noise levels; give "
            f"{key}.{field} instead."
        )
    option = node[OPTION]
    levels = option if isinstance(option, list | tuple) else [option]
    if not levels or (len(levels) > 1 and field != "timesteps"):
        raise MiaError(f"{key}.{OPTION}={option}: one number is needed, as {field} is one.")
    stride = 1
    if field != "timesteps" and "k" in parameters:  # walks end at a multiple of their stride
        stride = int(node.get("k", parameters["k"].default))
    times = [_nearest(level, key, model.sigmas(), stride) for level in levels]
    rest = {name: value for name, value in node.items() if name != OPTION}
    return {**rest, field: times if field == "timesteps" else times[0]}


def _parameters(node: Mapping[str, Any]) -> Mapping[str, inspect.Parameter]:
    from hydra.utils import get_object

    try:
        return inspect.signature(get_object(str(node.get("_target_")))).parameters
    except Exception:  # a node that cannot be built is refused, with its reason, when it is
        return {OPTION: inspect.Parameter(OPTION, inspect.Parameter.KEYWORD_ONLY)}


def _nearest(level: Any, key: str, sigmas: Sequence[float], stride: int) -> int:
    """The timestep whose noise fraction is nearest, a positive multiple of a stride above 1."""
    if not isinstance(level, int | float) or isinstance(level, bool) or not 0 <= level <= 1:
        raise MiaError(f"{key}.{OPTION}={level}: a fraction of noise between 0 and 1 is needed.")
    times = range(stride if stride > 1 else 0, len(sigmas), max(1, stride))
    return min(times, key=lambda t: abs(sigmas[t] - level))


def queried_levels(target: Target, attack: FeatureExtractor) -> dict[str, float]:
    """Noise fraction by timestep, of those at which `attack` queries a model of flow matching;
    nothing for models that are told timesteps."""
    from mia_bench.target import FlowSchedule

    if not isinstance(target.schedule, FlowSchedule):
        return {}
    times = sorted(set(attack.asks_at(target.timesteps)))
    levels = target.schedule.b[times].tolist()
    return {str(t): round(level, 6) for t, level in zip(times, levels, strict=True)}
