"""Every attack of conf/attack by name, for tests that hold for each; new yamls are found."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from omegaconf import OmegaConf

from mia_bench.config.compose import conf_dir

FILES = sorted((conf_dir() / "attack").glob("*.yaml"))
NODES: dict[str, Any] = {
    name: node
    for path in FILES
    for name, node in OmegaConf.to_container(OmegaConf.load(path), resolve=True).items()  # type: ignore[union-attr]
    if isinstance(node, Mapping) and "_target_" in node
}
