"""Which of a stored run's feature tables is which, told by their models and their rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from mia_bench.storage import layout
from mia_bench.utils.errors import MiaError
from mia_bench.verification.untrusted import NotHere, inside


@dataclass(frozen=True)
class StoredTables:
    """Folders of the feature tables of a run, as `planning.specs.RunSpec` has them."""

    evaluation: Path
    calibration: Path
    base: Path | None
    base_calibration: Path | None
    complexity: tuple[Path, ...] = ()
    """Of evaluation and of calibration rows, where scores are what complexity does not explain."""
    own_outputs: Path | None = None

    def named(self) -> list[tuple[str, int | str | None, str] | None]:
        """As `planning.keys.run_key` wants them."""
        tables = (self.evaluation, self.calibration, self.base, self.base_calibration)
        own = () if self.own_outputs is None else (self.own_outputs,)
        every = (*tables, *self.complexity, *own)
        return [None if folder is None else table_name(folder) for folder in every]


@dataclass(frozen=True)
class TableOwners:
    """Keys of the models that a run queried; `compared`: its scores subtract those of the base."""

    target: str
    shadow: str | None
    compared: bool

    def kind(self, folder: Path) -> str:
        key, _ = layout.model_and_step(folder)
        if key == self.target:
            return "target"
        return "shadow" if key == self.shadow else "base"


def sort_tables(
    folders: Sequence[Path], owners: TableOwners, evaluated: Callable[[], set[str]]
) -> StoredTables:
    """The tables of features by what they are for.

    Args:
        folders: feature tables of the run, without those of complexity.
        evaluated: the ids of evaluation rows, read where they are needed.

    Raises:
        MiaError: they are not those of one run.
    """
    of_model: dict[str, list[Path]] = {"target": [], "shadow": [], "base": []}
    for folder in folders:
        of_model[owners.kind(folder)].append(folder)
    base, base_calibration = _by_rows(of_model["base"], evaluated())
    if base_calibration is None and owners.shadow is None and owners.compared:
        base_calibration = base
    # one table of each, or the rows of the other beside it where these are the control
    own, others = of_model["target"], of_model["shadow"]
    if len(own) > 1 or len(others) > 1:
        evaluation, base_calibration = _by_rows(own, evaluated())
        base, calibration = _by_rows(others, evaluated())
    else:
        evaluation, calibration = next(iter(own), None), next(iter(others or own), None)
    if evaluation is None or calibration is None or bool(others) != (owners.shadow is not None):
        names = ", ".join(folder.name for folder in folders)
        raise MiaError(f"the tables {names} are not those of one run")
    return StoredTables(evaluation, calibration, base, base_calibration)


def complexity_tables(
    outputs: Path, names: Sequence[str], tables: Sequence[Path]
) -> tuple[Path, ...]:
    """The two tables of complexity that a manifest names, of evaluation and of calibration rows.

    Raises:
        MiaError: it names others than two of the run's tables.
    """
    folders = tuple(inside(outputs, outputs / str(name)) for name in names)
    if len(folders) != 2 or not {*folders} <= {*tables}:
        raise MiaError(
            f"{layout.MANIFEST_FILE} names {len(folders)} tables of complexity: two of its "
            "features are expected, those of evaluation and of calibration rows"
        )
    return folders


def _by_rows(folders: Sequence[Path], evaluated: set[str]) -> tuple[Path | None, Path | None]:
    """The table of evaluation rows, and the one of other rows."""
    tables = {set(_ids(folder)) == evaluated: folder for folder in folders}
    return tables.get(True), tables.get(False)


def table_name(folder: Path) -> tuple[str, int | str | None, str]:
    model_key, step = layout.model_and_step(folder)
    return model_key, None if step == layout.BASE_STEP else int(step), folder.name


def _ids(folder: Path) -> list[str]:
    import pyarrow.parquet as pq

    if not folder.is_dir():
        raise NotHere(f"{folder} is not here any more")
    path = folder / layout.FEATURES_FILE
    try:
        return list(pq.read_table(path, columns=["sample_id"]).column(0).to_pylist())
    except Exception as error:  # whatever a damaged file does to its reader
        raise MiaError(f"{path} cannot be read: {error}") from error
