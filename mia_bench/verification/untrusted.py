"""What may be done with the configuration and the names in somebody else's run."""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping
from dataclasses import is_dataclass
from pathlib import Path
from typing import Any

from hydra.utils import get_object

from mia_bench.config.instantiate import build
from mia_bench.storage.stored_files import leads_out
from mia_bench.utils.errors import MiaError

INTERPOLATION = re.compile(r"(\\*)\$\{")  # its start, and the backslashes that may escape it
OWN_MODULES = ("mia_bench.attacks.", "mia_bench.models.", "mia_bench.mitigations.")


class NotHere(MiaError):  # noqa: N818
    """Something that a check needs is not on this machine, which is no difference."""


def build_own(node: Any, key: str) -> Any:
    """`config.instantiate.build`, for classes of this package alone."""
    target = str(node.get("_target_", "")) if isinstance(node, Mapping) else ""
    if not target.startswith(OWN_MODULES):
        raise NotHere(f"{key} is {target or 'nothing'}: no code that a run names is imported")
    try:
        kind = get_object(target)
    except Exception as error:
        raise MiaError(f"{key}._target_={target} is not of this version") from error
    if not (
        inspect.isclass(kind) and is_dataclass(kind) and kind.__module__.startswith(OWN_MODULES)
    ):
        raise MiaError(f"{key}._target_={target} is none of this package's classes")
    return build(node, key)


def as_text(value: Any) -> Any:
    """`value` so that OmegaConf takes every `${...}` in it as text.

    Somebody else's configuration may hold `${oc.env:WANDB_API_KEY}`, and messages quote values.
    """
    if isinstance(value, str):
        return INTERPOLATION.sub(lambda start: 2 * start[1] + "\\${", value)
    if isinstance(value, Mapping):
        return {name: as_text(entry) for name, entry in value.items()}
    return [as_text(entry) for entry in value] if isinstance(value, list) else value


def inside(outputs: Path, path: Path) -> Path:
    """`path`. Raises MiaError for one that leads out of outputs/."""
    if leads_out(path, outputs):
        raise MiaError(f"{path.name} leads out of {outputs}")
    return path
