"""The one reader of small files under outputs/, which may come from anybody.

A file is looked at before it is opened (a regular file, no link out of its folder, not too large),
parsed without objects, tags or interpolations, and its types are checked (stored_models.py).
Whatever is wrong is an `Unreadable`: a caller reports that run and goes on with the others.
"""

from __future__ import annotations

import csv
import io
import json
import math
import stat
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import ValidationError

from mia_bench.storage import layout
from mia_bench.storage.files import MAX_YAML_BYTES, parse_yaml
from mia_bench.storage.hashing import hash_key, hash_once
from mia_bench.storage.stored_models import (
    StoredConfig,
    StoredControls,
    StoredEvidenceIndex,
    StoredEvidenceRow,
    StoredManifest,
    StoredMetrics,
    StoredModel,
)
from mia_bench.utils.errors import MiaError

if TYPE_CHECKING:
    import pandas as pd

MAX_JSON_BYTES = 16 << 20  # of a stored JSON file; ours have a few thousand
MAX_HISTORY_BYTES = 16 << 20  # of a training history; 200,000 rows
MAX_NESTING_LEVELS = 64  # of lists and mappings in a stored file; ours have seven
MAX_INTEGER_DIGITS = 20  # of a number in a stored JSON file; longer ones overflow as floats
EXPECTED = {
    "model_type": "no object",
    "dict_type": "no object",
    "list_type": "no list",
    "tuple_type": "no list",
    "string_type": "no text",
    "float_type": "no number",
    "finite_number": "no finite number",
    "int_type": "no whole number",
    "bool_type": "neither true nor false",
    "greater_than_equal": "out of its range",
    "less_than_equal": "out of its range",
}
"""What a value of another type is not, by the type of pydantic's error."""
MAX_NAMED_ERRORS = 3  # of one file in a message

T = TypeVar("T")


class Unreadable(MiaError):  # noqa: N818
    """A stored file that is not what this package writes; the message names it and says why."""


def read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest in `folder` as it is stored, its types checked. Raises Unreadable."""
    return read_validated(folder / layout.MANIFEST_FILE, StoredManifest)


def read_metrics(folder: Path) -> dict[str, Any]:
    """The metrics of a run as they are stored, their types checked. Raises Unreadable."""
    return read_validated(folder / layout.METRICS_FILE, StoredMetrics)


def read_controls(folder: Path) -> dict[str, Any]:
    """The blind baselines in a folder of controls, their types checked. Raises Unreadable."""
    return read_validated(folder / layout.CONTROLS_FILE, StoredControls)


def read_evidence_rows(folder: Path) -> list[StoredEvidenceRow]:
    """What is known of each picture of an evidence folder. Raises Unreadable."""
    path = folder / layout.EVIDENCE_INDEX_FILE
    return StoredEvidenceIndex.model_validate(read_validated(path, StoredEvidenceIndex)).rows


def read_config(folder: Path) -> dict[str, Any]:
    """The stored configuration as plain values: `${oc.env:...}` in it stays text.

    Raises:
        Unreadable: it is no plain mapping, or lacks what every configuration says.
    """
    path = folder / layout.CONFIG_FILE
    config = _guarded(path, MAX_YAML_BYTES, parse_yaml)
    _validate(path, config, StoredConfig)
    return config


def read_validated(path: Path, model: type[StoredModel]) -> dict[str, Any]:
    """The object in a JSON file as it is stored, after `model` found its types right.

    Raises:
        Unreadable: it is missing, too large, too deeply nested, no JSON, or of other types.
    """
    value = read_object(path)
    _validate(path, value, model)
    return value


def read_object(path: Path) -> dict[str, Any]:
    """The object in a JSON file of any types. Raises Unreadable."""
    value = _guarded(path, MAX_JSON_BYTES, _parse_json)
    if not isinstance(value, dict):
        raise _unreadable(path, "it holds no JSON object")
    return value


def read_history(path: Path) -> list[dict[str, float]]:
    """The rows of a train.csv: step, epoch, train_loss and the validation losses that there are.

    Empty fields are left out. Without a file there are no rows: the base is not trained, and a
    fine-tune may end before it was first validated.

    Raises:
        Unreadable: a field is no finite number, or no column is called step.
    """
    if not path.exists() and not path.is_symlink():
        return []
    rows = _guarded(path, MAX_HISTORY_BYTES, _parse_history)
    if not rows or any("step" not in row for row in rows):
        raise _unreadable(path, "it has no rows with a step")
    return rows


def read_frame(path: Path) -> pd.DataFrame:
    """A table of scores or of a ROC curve. Raises Unreadable."""
    import pyarrow.parquet as pq

    try:
        _check_file(path, None)
        with pq.ParquetFile(path) as file:  # half the time of pandas' reader, a thousand times over
            frame: pd.DataFrame = file.read(use_threads=False).to_pandas(use_threads=False)
            return frame
    except FileNotFoundError as error:
        raise _unreadable(path, "it is missing") from error
    except Exception as error:  # whatever a damaged file does to its reader
        raise _unreadable(path, str(error)) from error


def is_sealed(manifest: Mapping[str, Any]) -> bool:
    """The manifest is what was written. One without a seal is of an early version."""
    seal = manifest.get("seal")
    unsealed = {name: value for name, value in manifest.items() if name != "seal"}
    return seal is None or seal == hash_key(unsealed)


def changed_files(
    folder: Path, manifest: Mapping[str, Any], names: Iterable[str] | None = None
) -> list[str]:
    """What differs between a finished folder and its manifest: 'metrics.json is missing'.

    `names`: the files to compare, which the manifest must list; by default all that it lists, and
    the manifest itself.
    """
    listed: Mapping[str, str] = manifest.get("files", {})
    differences = []
    if names is None and not is_sealed(manifest):
        differences.append(f"{layout.MANIFEST_FILE} changed since it was written")
    for name in sorted(listed) if names is None else names:
        path = folder / name
        if leads_out(path, folder):
            differences.append(f"{name} leads out of the folder")
        elif not path.is_file():
            differences.append(f"{name} is missing")
        elif hash_once(path) != listed.get(name):  # runs share weights
            differences.append(f"{name} changed since it was written")
    return differences


def leads_out(path: Path, folder: Path) -> bool:
    """Whether `path`, its links followed, lies outside of `folder`."""
    try:
        return not path.resolve().is_relative_to(folder.resolve())
    except (OSError, RuntimeError):  # a loop of links
        return True


def _guarded(path: Path, max_bytes: int, parse: Callable[[str], T]) -> T:
    """`parse` of the text in `path`; every way in which that fails is an Unreadable."""
    try:
        _check_file(path, max_bytes)
        value = parse(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise _unreadable(path, "it is missing") from error
    except RecursionError as error:
        raise _unreadable(path, "it is too deeply nested") from error
    except (OSError, ValueError, RuntimeError, MemoryError) as error:
        raise _unreadable(path, str(error)) from error
    if _is_nested_deeper(value, MAX_NESTING_LEVELS):
        raise _unreadable(path, f"it is nested more than {MAX_NESTING_LEVELS} levels deep")
    return value


def _check_file(path: Path, max_bytes: int | None) -> None:
    """Refuse what would hang, fill the memory, or be somebody else's file."""
    if path.is_symlink() and leads_out(path, path.parent):
        raise ValueError("it is a link that leads out of its folder")
    state = path.stat()
    if not stat.S_ISREG(state.st_mode):
        raise ValueError("it is no regular file")
    if max_bytes is not None and state.st_size > max_bytes:
        raise ValueError(f"it has {state.st_size:,} bytes, more than {max_bytes:,}")


def _parse_json(text: str) -> Any:
    return json.loads(text, parse_constant=_refuse_constant, parse_int=_parse_integer)


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is no JSON")


def _parse_integer(digits: str) -> int:
    if len(digits) > MAX_INTEGER_DIGITS:
        raise ValueError(f"it holds a number of {len(digits):,} digits")
    return int(digits)


def _parse_history(text: str) -> list[dict[str, float]]:
    try:
        rows = [
            {str(name): float(field) for name, field in row.items() if field != ""}
            for row in csv.DictReader(io.StringIO(text, newline=""))
        ]
    except (TypeError, csv.Error) as error:  # fields without a column, or columns without a field
        raise ValueError("its rows are not of one length") from error
    if not all(math.isfinite(number) for row in rows for number in row.values()):
        raise ValueError("it holds losses that are not finite")
    return rows


def _is_nested_deeper(value: Any, levels: int) -> bool:
    level = [value]
    for _ in range(levels):
        level = [child for parent in level for child in _children(parent)]
        if not level:
            return False
    return True


def _children(value: Any) -> Iterable[Any]:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()


def _validate(path: Path, value: Any, model: type[StoredModel]) -> None:
    try:
        model.model_validate(value)
    except ValidationError as error:
        raise _unreadable(path, _in_words(error)) from error


def _in_words(error: ValidationError) -> str:
    """'nfe_forward is "many", no number; and 2 more: of another version, or edited'."""
    errors = error.errors(include_url=False, include_context=False)
    words = []
    for one in errors[:MAX_NAMED_ERRORS]:
        where = ".".join(map(str, one["loc"])) or "the whole"
        if one["type"] == "missing":
            words.append(f"it lacks {where}")
        else:
            shown = repr(one["input"])[:40]
            expected = EXPECTED.get(one["type"], f"not valid ({one['msg']})")
            words.append(f"{where} is {shown}, {expected}")
    more = f"; and {len(errors) - MAX_NAMED_ERRORS} more" if len(errors) > MAX_NAMED_ERRORS else ""
    return f"{'; '.join(words)}{more}: of another version, or edited"


def _unreadable(path: Path, reason: str) -> Unreadable:
    where = "/".join(path.parts[-2:])
    return Unreadable(f"unreadable: {where}: {' '.join(reason.split())}")
