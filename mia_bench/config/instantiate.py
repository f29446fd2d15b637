"""From a `_target_` node of the configuration to the object it describes.

The constructor's signature and type hints are the schema of the open groups (model, data source,
attack, mitigation). Everything is checked before anything heavy is loaded.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, get_type_hints

import pydantic
from hydra.utils import get_object

from mia_bench.config.validate import check_finite
from mia_bench.utils.errors import MiaError
from mia_bench.utils.text import nearest


def build(node: Any, key: str) -> Any:
    """Instantiate a `_target_` node after binding it to the constructor's signature and types."""
    if not isinstance(node, Mapping) or "_target_" not in node:
        raise MiaError(f"{key} has no _target_: it must name the class to build, as in conf/.")
    arguments = {name: value for name, value in node.items() if name != "_target_"}
    try:
        kind = get_object(node["_target_"])
    except Exception as error:
        reason = " ".join(str(error).split())
        raise MiaError(
            f"{key}._target_={node['_target_']} cannot be imported: {reason} A class outside of "
            "this package is found once its folder is on Python's path: install it, or set "
            "PYTHONPATH=<that folder>."
        ) from error
    parameters = _parameters(kind, f"{key}._target_={node['_target_']}")
    for name in arguments:
        if name not in parameters:
            raise MiaError(f"{key} has no option '{name}'. {nearest(name, parameters)}")
    for name, parameter in parameters.items():
        if parameter.default is inspect.Parameter.empty and name not in arguments:
            raise MiaError(f"{key}.{name} is needed and was not given.")
    hints = get_type_hints(kind if inspect.isfunction(kind) else kind.__init__)
    typed = {name: _typed(value, hints[name], f"{key}.{name}") for name, value in arguments.items()}
    check_finite(typed, key)
    try:
        return kind(**typed)
    except ValueError as error:
        raise MiaError(f"{key}: {error}") from error


def _parameters(kind: Any, key: str) -> Mapping[str, inspect.Parameter]:
    """Options of a class or function. Raises MiaError for what has none to check against."""
    if inspect.isclass(kind) or inspect.isfunction(kind):
        with suppress(ValueError):  # no signature: written in C
            parameters = inspect.signature(kind).parameters
            if not parameters:
                return parameters
            hints = get_type_hints(kind if inspect.isfunction(kind) else kind.__init__)
            if all(name in hints for name in parameters):
                return parameters
    raise MiaError(f"{key} is no class with typed options: name one as conf/ does.")


def _typed(value: Any, hint: Any, key: str) -> Any:
    try:
        return pydantic.TypeAdapter(hint).validate_python(value)
    except pydantic.ValidationError as error:
        reason = error.errors()[0]["msg"]
        raise MiaError(f"{key}={value!r} is not valid: {reason}.") from error
