"""Configurations of the jobs of a sweep: files are composed once for every choice of files.

Hydra reads and merges some twenty files for a configuration, which takes longer than all else that
there is to do for a finished job. Jobs that choose the same files differ in values alone.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import TYPE_CHECKING

from omegaconf import DictConfig, OmegaConf, open_dict

if TYPE_CHECKING:
    from hydra.core.config_loader import ConfigLoader
    from hydra.core.override_parser.types import Override


class Composer:
    """Configurations as Hydra composes them, without its own node.

    Args:
        config: the composed configuration of the sweep itself, with its `hydra` node.
    """

    def __init__(self, config: DictConfig, loader: ConfigLoader) -> None:
        self.config, self.loader = config, loader
        self._composed: dict[tuple[str, ...], DictConfig] = {}
        self._is_group: dict[str, bool] = {}
        self._parsed: dict[str, Override] = {}

    def compose(self, overrides: Sequence[str]) -> DictConfig:
        """The configuration of one job. Raises what Hydra raises for overrides that do not fit."""
        parsed = [self._parse(override) for override in overrides]
        values: list[Override] = []
        others: list[Override] = []
        for override in parsed:
            (values if self._sets_a_value(override) else others).append(override)
        files = tuple(override.input_line or "" for override in others)
        # what adds or deletes keys depends on its place among the other overrides
        if any(o.is_add() or o.is_force_add() or o.is_delete() for o in parsed):
            return self._load(overrides)
        if files not in self._composed:
            self._composed[files] = self._load(files)
        job = copy.deepcopy(self._composed[files])
        try:
            for override in values:
                OmegaConf.update(job, override.key_or_group, override.value(), merge=True)
        except Exception:
            return self._load(overrides)  # with Hydra's own message
        return job

    def _parse(self, override: str) -> Override:
        """Read once: jobs of a sweep have nearly all their overrides in common."""
        from hydra.core.override_parser.overrides_parser import OverridesParser

        if override not in self._parsed:
            parser = OverridesParser.create(config_loader=self.loader)
            (self._parsed[override],) = parser.parse_overrides([override])
        return self._parsed[override]

    def _sets_a_value(self, override: Override) -> bool:
        if override.package is not None or override.is_hydra_override():
            return False
        key = override.key_or_group
        if key not in self._is_group:
            self._is_group[key] = bool(self.loader.get_group_options(key))
        return not self._is_group[key]

    def _load(self, overrides: Sequence[str]) -> DictConfig:
        composed = self.loader.load_sweep_config(self.config, list(overrides))
        with open_dict(composed):
            del composed["hydra"]
        return composed
