"""The command line from Python, for notebooks: the same words, checks and results."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mia_bench.config import Experiment


def compose(*overrides: str) -> Experiment:
    """The checked objects of `python -m mia_bench <overrides>`.

    Raises:
        MiaError, HydraException: as the command line would say them.
    """
    from hydra import compose as hydra_compose
    from hydra import initialize_config_dir

    from mia_bench.config import conf_dir, register_schema, to_experiment
    from mia_bench.secret import refuse_secrets

    refuse_secrets(overrides)
    register_schema()
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        return to_experiment(hydra_compose("config", overrides=list(overrides)))


def run(*overrides: str) -> dict[str, tuple[dict[str, Any], Path]]:
    """Do what `python -m mia_bench <overrides>` does; metrics and folder of every cell by name."""
    from mia_bench.main import execute

    results = execute(compose(*overrides))
    return {name: (metrics, folder) for name, metrics, folder in results}
