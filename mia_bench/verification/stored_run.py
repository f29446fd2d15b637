"""A finished run read back from its folder: configuration, split, feature tables, and its models.

The folder may come from anybody. Its configuration is data: of what it names, only classes of this
package are built, and only those that cost nothing. Nothing is downloaded and no model is loaded.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, cast

import pandas as pd
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from mia_bench.attacks import Attack
from mia_bench.config.schema import Root
from mia_bench.data.split.manifest import Split, load_split
from mia_bench.data.split.roles import Role
from mia_bench.evaluation.inputs import Inputs, OwnTable, Tables, arrange, combine, load_own
from mia_bench.evaluation.labelled_features import LabelledFeatures, load_labelled
from mia_bench.evaluation.run_controls import MODEL_CONTROLS
from mia_bench.mitigations import TakesCaptions, TrainingSetup, apply_mitigations
from mia_bench.planning.keys import METRICS_VERSION, ensemble_key, run_key, split_file
from mia_bench.planning.membership import by_column
from mia_bench.planning.specs import BASE, EVALUATION_ROLES, REFERENCE, SHADOW_ROLES
from mia_bench.storage import layout
from mia_bench.storage.artifacts import is_complete
from mia_bench.storage.files import read_json
from mia_bench.storage.index import RunRef, files_in
from mia_bench.storage.provenance import environment
from mia_bench.storage.stored_files import (
    leads_out,
    read_config,
    read_frame,
    read_manifest,
    read_metrics,
)
from mia_bench.utils.errors import MiaError
from mia_bench.verification.untrusted import NotHere, as_text, build_own, inside


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
        return [None if folder is None else _table_name(folder) for folder in every]


@dataclass(frozen=True)
class StoredRun:
    """What lies at `ref`; everything is read when it is wanted.

    Every property raises MiaError for what cannot be read, NotHere for what is not here.
    """

    ref: RunRef

    @property
    def folder(self) -> Path:
        return self.ref.folder

    @property
    def outputs(self) -> Path:
        return self.ref.outputs

    @property
    def name(self) -> str:
        return self.ref.attack

    @property
    def is_ensemble(self) -> bool:
        return self.name == "ensemble"

    @cached_property
    def manifest(self) -> dict[str, Any]:
        return read_manifest(self.folder)

    def entry(self, *path: str) -> Any:
        """An entry of the manifest. Raises MiaError where it has none."""
        value: Any = self.manifest
        for name in path:
            if not isinstance(value, dict) or name not in value:
                lacks = f"{layout.MANIFEST_FILE} has no {'.'.join(path)}"
                raise MiaError(f"{lacks}: it is of another version")
            value = value[name]
        return value

    @cached_property
    def config(self) -> dict[str, Any]:
        return read_config(self.folder)

    @cached_property
    def metrics(self) -> dict[str, Any]:
        return read_metrics(self.folder)

    @property
    def blind(self) -> dict[str, Any]:
        """The blind rows as metrics.json has them."""
        controls = self.metrics.get("controls", {})
        return {name: entry for name, entry in controls.items() if name not in MODEL_CONTROLS}

    @cached_property
    def scores(self) -> pd.DataFrame:
        return read_frame(self.folder / layout.SCORES_FILE)

    @cached_property
    def other_versions(self) -> list[str]:
        """'numpy 2.0, here 2.1' for every package that differs from the one here."""
        here = environment()
        then = {**self.entry("versions"), "python": self.entry("python")}
        now = {**here["versions"], "python": here["python"]}
        return [f"{n} {v}, here {now.get(n, 'absent')}" for n, v in then.items() if v != now.get(n)]

    @cached_property
    def options(self) -> Root:
        try:
            merged = OmegaConf.merge(OmegaConf.structured(Root), as_text(self.config))
            return cast(Root, OmegaConf.to_object(merged))
        except OmegaConfBaseException as error:
            first = str(error).strip().partition("\n")[0]
            raise MiaError(f"{layout.CONFIG_FILE} is not of this version: {first}") from error

    @cached_property
    def attacks(self) -> dict[str, Attack]:
        nodes = self.config.get("attack")
        if not isinstance(nodes, dict) or not nodes:
            raise MiaError(f"{layout.CONFIG_FILE} names no attack")
        return {name: build_own(node, f"attack.{name}") for name, node in nodes.items()}

    @property
    def attack(self) -> Attack:
        """The one attack of a run that is no ensemble."""
        if self.name not in self.attacks:
            raise MiaError(
                f"{layout.CONFIG_FILE} has no attack {self.name}, which the folder is named after"
            )
        return self.attacks[self.name]

    def key(self, metrics: int = METRICS_VERSION) -> str:
        """The key that configuration and tables give under a version of the metrics."""
        if self.is_ensemble:
            names = [run.ref.name for run in self.runs]
            return ensemble_key(names, self.manifest.get("compared", names))
        plain = self.name.removesuffix(f"-{BASE}").removesuffix(f"-{REFERENCE}")
        name = self.name if self.name in self.attacks else plain
        attack, split = self.attacks.get(name) or self.attack, str(self.entry("split"))
        return run_key(self.name, attack, self.feature_tables.named(), self.options, split, metrics)

    @cached_property
    def metrics_version(self) -> int | None:
        """The version of the metrics under which the folder has its key; None: under none."""
        stored = self.ref.key
        if self.is_ensemble:
            return self.runs[0].metrics_version if self.key() == stored else None
        versions = range(METRICS_VERSION, 0, -1)
        return next((version for version in versions if self.key(version) == stored), None)

    @cached_property
    def split(self) -> Split:
        """The split of the configuration, or another manifest of the same content."""
        wanted = str(self.entry("split"))
        own = self._own_split_file()
        others = files_in(self.outputs / layout.SPLITS_FOLDER, ".json")
        named = [path for path in others if path != own and _hash_of(path) == wanted]
        candidates = [*([own] if own is not None and own.is_file() else []), *named]
        if not candidates:
            raise MiaError(
                f"no split of the hash {wanted} is in {self.outputs / layout.SPLITS_FOLDER}"
            )
        split = load_split(candidates[0])
        if split.content_hash != wanted:
            raise MiaError(
                f"{candidates[0].name} has the hash {split.content_hash}, and the run was made "
                f"with {wanted}"
            )
        return split

    def _own_split_file(self) -> Path | None:
        """Where the configuration has its split; None for an imported table that is not here."""
        data = self.options.data
        if data.split is not None and not Path(data.split).is_file():
            return None
        try:
            source = self.config["data"].get("source")
            finetune = bool(self.config["model"].get("finetune", True))
            labelled = by_column(data, source, finetune)
            path = split_file(self.outputs, data, source, labelled)
        except MiaError:
            return None
        return None if leads_out(path, self.outputs) else path

    @cached_property
    def shadowed(self) -> bool:
        return self.entry("models", "shadow") is not None

    @cached_property
    def runs(self) -> list[StoredRun]:
        """The runs that an ensemble combines."""
        if "cells" not in self.manifest:
            raise NotHere("the manifest does not say which runs it combines: an older version")
        refs = [self.ref.sibling(name) for name in self.manifest["cells"]]
        if absent := [ref.name for ref in refs if not is_complete(ref.folder)]:
            raise NotHere(f"{', '.join(absent)}, which it combines, is not here")
        return [StoredRun(ref) for ref in refs]

    @cached_property
    def feature_tables(self) -> StoredTables:
        """Which of the manifest's feature tables is which, by their models and their rows."""
        target, shadow = self.entry("models", "target"), self.entry("models", "shadow")
        of_model: dict[str, list[Path]] = {"target": [], "shadow": [], "base": []}
        complexity = self.complexity
        for folder in self.tables:
            if folder in complexity:
                continue
            key, _ = layout.model_and_step(folder)
            kind = "target" if key == target else "shadow" if key == shadow else "base"
            of_model[kind].append(folder)
        base, base_calibration = self._by_rows(of_model["base"])
        if base_calibration is None and not self.shadowed and self.name.endswith(f"-{BASE}"):
            base_calibration = base
        # one table of each, or the rows of the other beside it where these are the control
        own, others = of_model["target"], of_model["shadow"]
        if len(own) > 1 or len(others) > 1:
            evaluation, base_calibration = self._by_rows(own)
            base, calibration = self._by_rows(others)
        else:
            evaluation, calibration = next(iter(own), None), next(iter(others or own), None)
        if evaluation is None or calibration is None or bool(others) != self.shadowed:
            names = ", ".join(folder.name for folder in self.tables)
            raise MiaError(f"the tables {names} are not those of one run")
        four = (evaluation, calibration, base, base_calibration)
        return StoredTables(*four, complexity, self.own_table)

    @cached_property
    def complexity(self) -> tuple[Path, ...]:
        """The tables of how complex the images of evaluation and of calibration rows are.

        Empty where scores keep what complexity explains. Raises MiaError for anything but two of
        the run's tables.
        """
        names = self.manifest.get("complexity")
        if names is None:
            return ()
        folders = tuple(inside(self.outputs, self.outputs / str(name)) for name in names)
        if len(folders) != 2 or not {*folders} <= {*self.tables}:
            raise MiaError(
                f"{layout.MANIFEST_FILE} names {len(folders)} tables of complexity: two of its "
                "features are expected, those of evaluation and of calibration rows"
            )
        return folders

    def _by_rows(self, folders: Sequence[Path]) -> tuple[Path | None, Path | None]:
        """The table of evaluation rows, and the one of other rows."""
        evaluated = set(self.rows(*EVALUATION_ROLES))
        tables = {set(_ids(folder)) == evaluated: folder for folder in folders}
        return tables.get(True), tables.get(False)

    @property
    def control(self) -> str:
        """The kind of the control: the base is a model of its own, the reference is the shadow."""
        base = self.feature_tables.base
        shadow = self.entry("models", "shadow")
        is_shadow = base is not None and layout.model_and_step(base)[0] == shadow
        return REFERENCE if is_shadow else BASE

    @property
    def tables(self) -> list[Path]:
        """Every feature table the run stands on."""
        return [inside(self.outputs, self.outputs / name) for name in self.entry("features")]

    @property
    def own_table(self) -> Path | None:
        """The feature table of pictures that the target generated, with eval.own_outputs."""
        own = self.manifest.get("own_outputs")
        if own is None:
            return None
        return inside(self.outputs, self.outputs / str(self.entry("own_outputs", "features")))

    @cached_property
    def own_scores(self) -> pd.DataFrame:
        return read_frame(self.folder / layout.OWN_OUTPUTS_FILE)

    def rows(self, *roles: Role) -> tuple[str, ...]:
        return tuple(self.split.sample_id[i] for i in self.split.rows(*roles))

    def inputs(self) -> Inputs:
        """What the run was scored from."""
        if self.is_ensemble:
            return combine([run.inputs() for run in self.runs])
        folders = self.feature_tables
        evaluation_rows = self.rows(*EVALUATION_ROLES)
        calibration_rows = self.rows(*(SHADOW_ROLES if self.shadowed else EVALUATION_ROLES))

        def load(folder: Path, rows: Sequence[str]) -> LabelledFeatures:
            return load_labelled(folder / layout.FEATURES_FILE, rows, self.split)

        base, base_calibration = folders.base, folders.base_calibration
        complexity = None
        if folders.complexity:
            evaluated, known = folders.complexity
            complexity = load(evaluated, evaluation_rows), load(known, calibration_rows)
        every = Tables(
            load(folders.evaluation, evaluation_rows),
            load(folders.calibration, calibration_rows),
            None if base is None else load(base, evaluation_rows),
            None if base_calibration is None else load(base_calibration, calibration_rows),
            halves=not self.shadowed,
            control=self.control,
            complexity=complexity,
        )
        options = self.options
        rows = arrange(self.name, self.attack, every, options.data.split_seed, options.calibration)
        return rows if folders.own_outputs is None else replace(rows, own_outputs=self._own())

    def _own(self) -> OwnTable:
        """What was scored of the target's own outputs: the table's rows, with their sources.

        Raises:
            MiaError: a source is none of the evaluation non-members.
        """
        assert self.own_table is not None
        stored, allowed = self.own_scores, set(self.rows(Role.TARGET_NONMEMBER))
        if strangers := [sid for sid in stored.source_id if sid not in allowed]:
            raise MiaError(f"{layout.OWN_OUTPUTS_FILE}: {strangers[0]} is no evaluation non-member")
        path = self.own_table / layout.FEATURES_FILE
        return load_own(path, stored.sample_id.tolist(), stored.source_id.tolist(), self.split)

    def setup(self, kind: str) -> TrainingSetup:
        """How the target or the shadow was trained, as the configuration has it."""
        options, member = self.options, _member(kind)
        unaware = kind == "shadow" and options.calibration.shadow_mitigation == "none"
        nodes = self.config.get("mitigation") or {}
        made = {name: build_own(node, f"mitigation.{name}") for name, node in nodes.items()}
        if any(isinstance(mitigation, TakesCaptions) for mitigation in made.values()):
            raise NotHere("the machine captions that it was trained on are not read again")
        return apply_mitigations(
            {} if unaware else made,
            nodes,
            options.finetune,
            len(self.rows(member)),
            len(self.rows(Role.VALIDATION)),
            options.trainer.ranks,
            options.trainer.precision,
        )


def _member(kind: str) -> Role:
    return Role.TARGET_MEMBER if kind == "target" else Role.SHADOW_MEMBER


def _table_name(folder: Path) -> tuple[str, int | str | None, str]:
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


def _hash_of(path: Path) -> str | None:
    """The hash that a split's manifest claims, which `load_split` checks."""
    try:
        return str(read_json(path).get("hash"))
    except MiaError:
        return None
