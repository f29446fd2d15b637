"""Errors a person can act on: one message each, with the nearest valid word for a typo."""

from __future__ import annotations

import errno
import inspect
import os
import re
import sys
from contextlib import suppress
from pathlib import Path

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from hydra.utils import get_object
from omegaconf import OmegaConf
from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException

from mia_bench.config.compose import conf_dir
from mia_bench.config.guesses import key_meant, option_meant
from mia_bench.config.override_messages import explain_override
from mia_bench.config.schema import Root
from mia_bench.storage.command import current_command
from mia_bench.storage.files import unwritable, write_advice
from mia_bench.utils.errors import MiaError
from mia_bench.utils.text import nearest, sanitise_lines

MAX_MESSAGE_LINES = 40  # lines of a message
MAKE_FOLDERS = ("mkdir", "makedirs")  # functions of the standard library
NO_PATH = (errno.ENAMETOOLONG, errno.ELOOP)

PLUGINS = {
    ("hydra/launcher", "joblib"): "joblib",
    ("hydra/launcher", "submitit_slurm"): "slurm",
    ("hydra/launcher", "submitit_local"): "slurm",
}
"""Options that Hydra's plugins bring, and our extras that install them."""

NESTED_GROUPS = ("hydra/launcher", "hydra/sweeper")

SEARCH_PATH = "hydra.searchpath"
"""Hydra's key for further folders of yamls."""

READERS = ("hydra", "omegaconf", "antlr4", "yaml")
"""Packages that read the command line and conf/; not all that they raise is of their own kind."""


def explain(error: BaseException) -> str | None:
    """What to print instead of a traceback, or None for an error that is a bug."""
    message = _explained(error)
    return None if message is None else sanitise_lines(message, MAX_MESSAGE_LINES)


def _explained(error: BaseException) -> str | None:
    if isinstance(error, MiaError):
        return str(error)
    if isinstance(error, PermissionError) and _is_there_unreadable(error.filename):
        return f"cannot read: {error}. Make it readable, or move it out of the way."
    if problem := unwritable(error):
        return f"cannot write: {problem}. {write_advice(problem)}"
    if isinstance(error, OSError) and _innermost(error) in MAKE_FOLDERS:
        return (
            f"{error.filename} cannot be made: {error.strerror}. Point paths.outputs, or whatever "
            "names it, at a folder you may write to."
        )
    if isinstance(error, OSError) and error.errno in NO_PATH:
        return f"{error.filename} cannot be used as a path: {error.strerror}."
    if _is_out_of_memory(error):
        return (
            f"memory does not suffice: {_first_line(error)} Lower model.chunk or eval.batch_size "
            "to score, raise finetune.accumulate to train; what is finished stays usable."
        )
    if is_lost_rank(error):
        return (
            "another process of this run ended; see its message. Run the same command again: it "
            f"goes on from what is finished. ({str(error).strip().partition(chr(10))[0]})"
        )
    if isinstance(error, HydraException | OmegaConfBaseException):
        return _configuration(error)
    if _raised_by(error).partition(".")[0] in READERS:
        culprit = explain_override(current_command()[1:])
        return culprit or f"the command line cannot be read: {_first_line(error)}"
    return None


def _is_there_unreadable(path: object) -> bool:
    """A file that exists and may not be read: what failed was no writing."""
    if not isinstance(path, str | os.PathLike) or not Path(path).exists():
        return False
    return not os.access(path, os.R_OK, effective_ids=os.access in os.supports_effective_ids)


def _is_out_of_memory(error: BaseException) -> bool:
    if "torch" not in sys.modules or not isinstance(error, RuntimeError):
        return False
    from mia_bench.utils.oom_batching import out_of_memory

    return out_of_memory(error)


def is_lost_rank(error: BaseException) -> bool:
    """A collective operation failed because a process of the group is gone or does not answer."""
    by_type = type(error).__name__ in ("DistBackendError", "DistNetworkError", "DistStoreError")
    return by_type or (isinstance(error, RuntimeError) and "gloo/" in str(error))


def _raised_by(error: BaseException) -> str:
    """Name of the module that raised `error`."""
    trace, name = error.__traceback__, ""
    while trace is not None:
        name, trace = str(trace.tb_frame.f_globals.get("__name__", "")), trace.tb_next
    return name


def _innermost(error: BaseException) -> str:
    """Name of the function that raised `error`."""
    trace, name = error.__traceback__, ""
    while trace is not None:
        name, trace = trace.tb_frame.f_code.co_name, trace.tb_next
    return name


def _first_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__


def _configuration(error: BaseException) -> str:
    if (culprit := explain_override(current_command()[1:])) is not None:
        return culprit
    text = _first_line(error)
    if match := re.search(r"Could not find '([\w-]+)/'", text):
        group = match.group(1)
        return f"{group}= has no value. Known: {', '.join(sorted(group_options(group)))}."
    if match := re.match(r"Error merging override (.+)", text):
        reason = _first_line(error.__cause__) if error.__cause__ is not None else "no such value"
        return f"{match.group(1)} is not valid: {reason}."
    if match := re.search(r"Interpolation key '([^']+)' not found", text):
        return _dangling(match.group(1))
    if match := re.search(r"Could not (?:find|load) '([^']+)'", str(error)):
        return _no_option(match.group(1))
    if match := re.search(r"Could not override '([^']+)'", str(error)):
        return _unknown_key(match.group(1))
    if match := re.search(r"full_key: (\S+)", str(error)):
        if isinstance(error, MissingMandatoryValue):
            return f"{match.group(1)} is needed and was not given: write {match.group(1)}=..."
        return f"{match.group(1)}: {text}"
    return text


def _no_option(place: str) -> str:
    """`place` is the yaml that is not there, `<group>/<option>`; an option may be a path."""
    groups = [group for group in (*NESTED_GROUPS, *_groups()) if place.startswith(f"{group}/")]
    group = groups[0] if groups else place.partition("/")[0]
    option = place.removeprefix(f"{group}/")
    if (group, option) in PLUGINS:
        extra = PLUGINS[group, option]
        return f"{group}={option} is an extra: pip install 'mia_bench[{extra}]'."
    lost = "".join(f" {SEARCH_PATH} names {folder}, which is no folder." for folder in _lost())
    meant = option_meant(group, option, group_options(group))
    return f"there is no {group}={option}.{lost} {meant}"


def _dangling(name: str) -> str:
    """A reference to a key that is not there, in the words that hold it."""
    words = [word for word in current_command()[1:] if f"${{{name}" in word]
    where = f"{words[0]}: " if words else ""
    return (
        f"{where}there is no configuration key '{name}' that ${{{name}}} could stand for. "
        f"{nearest(name, _all_keys() if '.' in name else Root.__dataclass_fields__)} Text with ${{ "
        "in it is written with a backslash before it: \\${"
    )


def _unknown_key(key: str) -> str:
    """`key` is in no group and no file; say what is nearest at the level where it goes wrong."""
    head, _, rest = key.partition(".")
    roots = {*(f for f in Root.__dataclass_fields__), *_groups()}
    if head not in roots or not rest:
        return f"there is no configuration key '{key}'. {key_meant(key, {*_all_keys(), *roots})}"
    chosen = _chosen_configuration()
    if kind := _class_with_option(key, chosen):
        return (
            f"{key} is an option of {kind} that its yaml leaves at the default: write +{key}=... "
            "with a plus."
        )
    return f"there is no configuration key '{key}'. {key_meant(key, _flat(chosen))}"


def _class_with_option(key: str, chosen: object) -> str:
    """Name of the class that the node of `key` builds, if it has that option; else ""."""
    *place, option = key.split(".")
    node = chosen
    for name in place:
        node = node.get(name) if isinstance(node, dict) else None
    if not isinstance(node, dict) or "_target_" not in node:
        return ""
    try:
        kind = get_object(node["_target_"])
        return str(kind.__name__) if option in inspect.signature(kind).parameters else ""
    except Exception:  # whatever importing somebody's class does: there is a message without it
        return ""


def _groups() -> list[str]:
    return [path.name for folder in _folders() for path in folder.iterdir() if path.is_dir()]


def group_options(group: str) -> list[str]:
    return [path.stem for folder in _folders() for path in (folder / group).glob("*.yaml")]


def _folders() -> list[Path]:
    """The package's conf/, and the folders that hydra.searchpath on the command line adds."""
    return [conf_dir(), *(folder for folder in _added_folders() if folder.is_dir())]


def _lost() -> list[Path]:
    """Folders that hydra.searchpath names and that are not there, of which Hydra only warns."""
    return [folder for folder in _added_folders() if not folder.is_dir()]


def _added_folders() -> list[Path]:
    return [
        Path(place.removeprefix("file://"))
        for override in _overrides()
        if override.key_or_group == SEARCH_PATH and isinstance(override.value(), list)
        for place in map(str, override.value())  # type: ignore[arg-type]
        if not place.startswith("pkg://")
    ]


def _overrides() -> list[Override]:
    """The words of the command line that Hydra can read."""
    parser, readable = OverridesParser.create(), []
    for argument in current_command()[1:]:
        with suppress(HydraException):
            readable.append(parser.parse_override(argument))
    return readable


def _all_keys() -> list[str]:
    """Every key of the configuration that the group choices on the command line give."""
    return _flat(_chosen_configuration())


def _chosen_configuration() -> object:
    """The configuration that the group choices on the command line give, unresolved."""
    from hydra import compose, initialize_config_dir
    from hydra.core.global_hydra import GlobalHydra

    chosen = {*_groups(), SEARCH_PATH}
    choices = [
        str(override.input_line)
        for override in _overrides()
        if override.key_or_group in chosen and not override.is_sweep_override()
    ]
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        try:
            cfg = compose("config", overrides=choices)
        except HydraException:  # words of a script's own, which are none of ours
            cfg = compose("config")
    return OmegaConf.to_container(cfg, resolve=False)


def _flat(node: object, prefix: str = "") -> list[str]:
    if not isinstance(node, dict):
        return []
    keys = []
    for name, value in node.items():
        keys += [f"{prefix}{name}", *_flat(value, f"{prefix}{name}.")]
    return keys
