"""Where conf/ is, and its schema as Hydra knows it."""

from __future__ import annotations

from pathlib import Path

from mia_bench.utils.errors import MiaError


def conf_dir() -> Path:
    """conf/ inside an installed package, next to it in a checkout."""
    package = Path(__file__).resolve().parents[1]
    for candidate in (package / "conf", package.parent / "conf"):
        if (candidate / "config.yaml").is_file():
            return candidate
    raise MiaError(f"conf/ was not found beside or inside {package}. Install the package again.")


def register_schema() -> None:
    from hydra.core.config_store import ConfigStore

    from mia_bench.config.schema import Root

    ConfigStore.instance().store("schema", node=Root)
