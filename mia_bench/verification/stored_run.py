"""A finished run read back from its folder: what was configured, scored and stored.

The folder may come from anybody. Its configuration is data: of what it names, only classes of this
package are built, and only those that cost nothing. Nothing is downloaded and no model is loaded.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, cast

import pandas as pd
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from mia_bench.attacks import Attack
from mia_bench.config.schema import Root
from mia_bench.data.split.manifest import Split
from mia_bench.data.split.roles import Role
from mia_bench.evaluation.run_controls import MODEL_CONTROLS
from mia_bench.planning.keys import METRICS_VERSION, ensemble_key, run_key
from mia_bench.planning.specs import BASE, EVALUATION_ROLES, REFERENCE
from mia_bench.storage import layout
from mia_bench.storage.artifacts import is_complete
from mia_bench.storage.index import RunRef
from mia_bench.storage.provenance import environment
from mia_bench.storage.stored_files import (
    read_config,
    read_frame,
    read_manifest,
    read_metrics,
)
from mia_bench.utils.errors import MiaError
from mia_bench.verification.stored_split import find_split, own_split_file
from mia_bench.verification.stored_tables import (
    StoredTables,
    TableOwners,
    complexity_tables,
    sort_tables,
)
from mia_bench.verification.untrusted import NotHere, as_text, build_own, inside


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
        return find_split(self.outputs, str(self.entry("split")), self._own_split_file())

    def _own_split_file(self) -> Path | None:
        """Where the configuration has its split; None for an imported table that is not here."""
        data = self.options.data
        try:
            source = self.config["data"].get("source")
            finetune = bool(self.config["model"].get("finetune", True))
            return own_split_file(self.outputs, data, source, finetune)
        except MiaError:
            return None

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
        owners = TableOwners(target, shadow, compared=self.name.endswith(f"-{BASE}"))
        complexity = self.complexity
        plain = [folder for folder in self.tables if folder not in complexity]
        four = sort_tables(plain, owners, lambda: set(self.rows(*EVALUATION_ROLES)))
        return replace(four, complexity=complexity, own_outputs=self.own_table)

    @cached_property
    def complexity(self) -> tuple[Path, ...]:
        """The tables of how complex the images of evaluation and of calibration rows are.

        Empty where scores keep what complexity explains. Raises MiaError for anything but two of
        the run's tables.
        """
        names = self.manifest.get("complexity")
        return () if names is None else complexity_tables(self.outputs, names, self.tables)

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
