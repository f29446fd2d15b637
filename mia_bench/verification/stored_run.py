"""A finished run read back from its folder: configuration, split, feature tables, and its models.

The folder may come from anybody. Its configuration is data: of what it names, only classes of this
package are built, and only those that cost nothing. Nothing is downloaded and no model is loaded.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, is_dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, cast

import pandas as pd
from hydra.utils import get_object
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from mia_bench.attacks import Attack
from mia_bench.config.instantiate import build
from mia_bench.config.schema import Root
from mia_bench.data.split.manifest import Split, load_split
from mia_bench.data.split.roles import Role
from mia_bench.evaluation.inputs import Inputs, Tables, arrange, combine
from mia_bench.evaluation.labelled_features import load_labelled
from mia_bench.mitigations import TrainingSetup, apply_mitigations
from mia_bench.planning.keys import METRICS_VERSION, ensemble_key, run_key, split_file
from mia_bench.planning.specs import EVALUATION_ROLES, SHADOW_ROLES
from mia_bench.storage.artifacts import MANIFEST, is_complete
from mia_bench.storage.files import read_json, read_yaml
from mia_bench.storage.provenance import environment
from mia_bench.utils.errors import MiaError

OWN_MODULES = ("mia_bench.attacks.", "mia_bench.models.", "mia_bench.mitigations.")


class NotHere(MiaError):  # noqa: N818
    """Something that a check needs is not on this machine, which is no difference."""


@dataclass(frozen=True)
class Asked:
    """Folders of the feature tables of a cell, as `plan.Cell` has them."""

    evaluation: Path
    calibration: Path
    base: Path | None
    base_calibration: Path | None

    def folders(self) -> list[Path]:
        every = (self.evaluation, self.calibration, self.base, self.base_calibration)
        return list(dict.fromkeys(folder for folder in every if folder is not None))

    def named(self) -> list[tuple[str, int | str | None, str] | None]:
        """As `plan.run_key` wants them."""
        every = (self.evaluation, self.calibration, self.base, self.base_calibration)
        return [None if folder is None else _named(folder) for folder in every]


@dataclass(frozen=True)
class StoredRun:
    """outputs/runs/<model key>/<step>/<attack>-<run key>; everything is read when it is asked for.

    Every property raises MiaError for what cannot be read, NotHere for what is not here.
    """

    folder: Path

    @property
    def outputs(self) -> Path:
        return self.folder.parents[3]

    @property
    def name(self) -> str:
        return self.folder.name.rpartition("-")[0]

    @property
    def is_ensemble(self) -> bool:
        return self.name == "ensemble"

    @cached_property
    def manifest(self) -> dict[str, Any]:
        return read_json(self.folder / MANIFEST)

    def says(self, *path: str) -> Any:
        """An entry of the manifest. Raises MiaError where it has none."""
        found: Any = self.manifest
        for name in path:
            if not isinstance(found, dict) or name not in found:
                raise MiaError(f"manifest.json has no {'.'.join(path)}: it is of another version")
            found = found[name]
        return found

    @cached_property
    def config(self) -> dict[str, Any]:
        return read_yaml(self.folder / "config.yaml")

    @cached_property
    def metrics(self) -> dict[str, Any]:
        return read_json(self.folder / "metrics.json")

    @property
    def blind(self) -> dict[str, Any]:
        """The blind rows as metrics.json has them."""
        controls = self.metrics.get("controls", {})
        return {name: entry for name, entry in controls.items() if name != "base"}

    @cached_property
    def scores(self) -> pd.DataFrame:
        try:
            return pd.read_parquet(self.folder / "scores.parquet")
        except Exception as error:  # whatever a damaged file does to its reader
            raise MiaError(f"scores.parquet cannot be read: {error}") from error

    @cached_property
    def other_versions(self) -> list[str]:
        """'numpy 2.0, here 2.1' for every package that differs from the one here."""
        here = environment()
        then = {**self.says("versions"), "python": self.says("python")}
        now = {**here["versions"], "python": here["python"]}
        return [f"{n} {v}, here {now.get(n, 'absent')}" for n, v in then.items() if v != now.get(n)]

    @cached_property
    def options(self) -> Root:
        try:
            merged = OmegaConf.merge(OmegaConf.structured(Root), self.config)
            return cast(Root, OmegaConf.to_object(merged))
        except OmegaConfBaseException as error:
            first = str(error).strip().partition("\n")[0]
            raise MiaError(f"config.yaml is not of this version: {first}") from error

    @cached_property
    def attacks(self) -> dict[str, Attack]:
        nodes = self.config.get("attack")
        if not isinstance(nodes, dict) or not nodes:
            raise MiaError("config.yaml names no attack")
        return {name: own(node, f"attack.{name}") for name, node in nodes.items()}

    @property
    def attack(self) -> Attack:
        """The one attack of a cell that is no ensemble."""
        if self.name not in self.attacks:
            raise MiaError(
                f"config.yaml has no attack {self.name}, which the folder is named after"
            )
        return self.attacks[self.name]

    def key(self, metrics: int = METRICS_VERSION) -> str:
        """The key that configuration and tables give under a version of the metrics."""
        if self.is_ensemble:
            names = [run.folder.name for run in self.runs]
            return ensemble_key(names, self.manifest.get("compared", names))
        name = self.name if self.name in self.attacks else self.name.removesuffix("-base")
        attack, split = self.attacks.get(name) or self.attack, str(self.says("split"))
        return run_key(self.name, attack, self.asked.named(), self.options, split, metrics)

    @cached_property
    def metrics_version(self) -> int | None:
        """The version of the metrics under which the folder has its key; None: under none."""
        stored = self.folder.name.rpartition("-")[2]
        if self.is_ensemble:
            return self.runs[0].metrics_version if self.key() == stored else None
        versions = range(METRICS_VERSION, 0, -1)
        return next((version for version in versions if self.key(version) == stored), None)

    @cached_property
    def split(self) -> Split:
        """The split of the configuration, or another manifest of the same content."""
        wanted, data = str(self.says("split")), self.options.data
        source = self.config["data"].get("source")
        try:
            path = split_file(self.outputs, data, source)
        except MiaError:  # an imported table that is not here any more
            path = self.outputs / "splits" / "gone.json"
        others = sorted((self.outputs / "splits").glob("*.json"))
        named = [p for p in others if p != path and _hash_of(p) == wanted]
        candidates = [*([path] if path.is_file() else []), *named]
        if not candidates:
            raise MiaError(f"no split of the hash {wanted} is in {self.outputs / 'splits'}")
        split = load_split(candidates[0])
        if split.content_hash != wanted:
            raise MiaError(
                f"{candidates[0].name} has the hash {split.content_hash}, and the run was made "
                f"with {wanted}"
            )
        return split

    @cached_property
    def shadowed(self) -> bool:
        return self.says("models", "shadow") is not None

    @cached_property
    def runs(self) -> list[StoredRun]:
        """The cells that an ensemble combines."""
        if "cells" not in self.manifest:
            raise NotHere("the manifest does not say which cells it combines: an older version")
        found = [StoredRun(self.folder.with_name(str(name))) for name in self.manifest["cells"]]
        if absent := [run.folder.name for run in found if not is_complete(run.folder)]:
            raise NotHere(f"{', '.join(absent)}, which it combines, is not here")
        return found

    @cached_property
    def asked(self) -> Asked:
        """Which of the manifest's feature tables is which, by their models and their rows."""
        target, shadow = self.says("models", "target"), self.says("models", "shadow")
        folders = [inside(self.outputs, str(name)) for name in self.says("features")]
        of_model: dict[str, list[Path]] = {"target": [], "shadow": [], "base": []}
        for folder in folders:
            key = folder.parents[1].name
            kind = "target" if key == target else "shadow" if key == shadow else "base"
            of_model[kind].append(folder)
        evaluated = set(self.rows(*EVALUATION_ROLES))
        bases = {set(_ids(f)) == evaluated: f for f in of_model["base"]}
        base, base_known = bases.get(True), bases.get(False)
        if base_known is None and not self.shadowed and self.name.endswith("-base"):
            base_known = base
        if len(of_model["target"]) != 1 or len(of_model["shadow"]) != int(self.shadowed):
            raise MiaError(f"the tables {', '.join(map(str, self.says('features')))} are no cell's")
        evaluation = of_model["target"][0]
        return Asked(evaluation, (of_model["shadow"] or [evaluation])[0], base, base_known)

    @property
    def tables(self) -> list[Path]:
        """Every feature table the run stands on."""
        return [inside(self.outputs, str(name)) for name in self.says("features")]

    def rows(self, *roles: Role) -> tuple[str, ...]:
        return tuple(self.split.sample_id[i] for i in self.split.rows(*roles))

    def inputs(self) -> Inputs:
        """What the run was scored from."""
        if self.is_ensemble:
            return combine([run.inputs() for run in self.runs])
        asked, shadow = self.asked, self.shadowed
        evaluated, known = (
            self.rows(*EVALUATION_ROLES),
            self.rows(*(SHADOW_ROLES if shadow else EVALUATION_ROLES)),
        )

        def table(folder: Path | None, rows: Sequence[str]) -> Any:
            path = folder and folder / "features.parquet"
            return path and load_labelled(path, rows, self.split)

        every = Tables(
            table(asked.evaluation, evaluated),
            table(asked.calibration, known),
            table(asked.base, evaluated),
            table(asked.base_calibration, known),
            halves=not shadow,
        )
        return arrange(self.name, self.attack, every, self.options.data.split_seed)

    def setup(self, kind: str) -> TrainingSetup:
        """How the target or the shadow was trained, as the configuration has it."""
        options, member = self.options, _member(kind)
        unaware = kind == "shadow" and options.calibration.shadow_mitigation == "none"
        nodes = self.config.get("mitigation") or {}
        made = {name: own(node, f"mitigation.{name}") for name, node in nodes.items()}
        return apply_mitigations(
            {} if unaware else made,
            nodes,
            options.finetune,
            len(self.rows(member)),
            len(self.rows(Role.VALIDATION)),
            options.trainer.ranks,
            options.trainer.precision,
        )


def own(node: Any, key: str) -> Any:
    """`config.build`, for classes of this package alone."""
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


def inside(outputs: Path, name: str) -> Path:
    """outputs/<name>. Raises MiaError for a name that leads out of outputs/."""
    path = outputs / name
    if not path.resolve().is_relative_to(outputs.resolve()):
        raise MiaError(f"{name} leads out of {outputs}")
    return path


def _member(kind: str) -> Role:
    return Role.TARGET_MEMBER if kind == "target" else Role.SHADOW_MEMBER


def _named(folder: Path) -> tuple[str, int | str | None, str]:
    step = folder.parent.name
    return folder.parents[1].name, None if step == "base" else int(step), folder.name


def _ids(folder: Path) -> list[str]:
    import pyarrow.parquet as pq

    path = folder / "features.parquet"
    if not folder.is_dir():
        raise NotHere(f"{folder} is not here any more")
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
