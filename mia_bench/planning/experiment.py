"""An experiment: the composed configuration and the objects that it describes, checked."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from omegaconf import DictConfig, OmegaConf

from mia_bench.config.instantiate import build
from mia_bench.config.schema import Root
from mia_bench.config.secrets import refuse_secrets, secret_advice, secret_in_values
from mia_bench.planning.contracts import refuse
from mia_bench.planning.noise_levels import at_timesteps
from mia_bench.utils.errors import MiaError

if TYPE_CHECKING:
    from mia_bench.attacks import Attack
    from mia_bench.data.source import Source
    from mia_bench.mitigations import Mitigation
    from mia_bench.models import Model


def compose(*overrides: str) -> Experiment:
    """The checked objects of `python -m mia_bench <overrides>`.

    Raises:
        MiaError, HydraException: as the command line would say them.
    """
    from hydra import compose as hydra_compose
    from hydra import initialize_config_dir

    from mia_bench.config.compose import conf_dir, register_schema

    refuse_secrets(overrides)
    register_schema()
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        return to_experiment(hydra_compose("config", overrides=list(overrides)))


@dataclass(frozen=True)
class Experiment:
    """Everything one run needs, as objects; `resolved` is the configuration it came from."""

    model: Model
    source: Source
    attacks: dict[str, Attack]
    mitigations: dict[str, Mitigation]
    options: Root
    resolved: dict[str, Any]

    @property
    def outputs(self) -> Path:
        return Path(self.options.paths.outputs)


def to_experiment(cfg: DictConfig) -> Experiment:
    """Check and build every object of a composed configuration.

    Raises:
        MiaError: a key, value or combination that cannot be run; names the nearest valid one.
    """
    options = cast(Root, OmegaConf.to_object(cfg))
    resolved = cast(dict[str, Any], OmegaConf.to_container(cfg, resolve=True))
    if (problem := secret_in_values(resolved)) is not None:
        raise MiaError(secret_advice(problem))
    if not options.attack:
        raise MiaError("no attack is selected: use attack=clid, attack=[clid,loss] or attack=all.")
    model = build(resolved["model"], "model")
    attacks = {
        name: build(at_timesteps(node, f"attack.{name}", model), f"attack.{name}")
        for name, node in resolved["attack"].items()
    }
    source = build(resolved["data"]["source"], "data.source")
    nodes = resolved["mitigation"]
    mitigations = {name: build(node, f"mitigation.{name}") for name, node in nodes.items()}
    refuse(options, attacks, model, source, mitigations)
    # what is stored and handed to worker processes has the present names of the options alone
    resolved["trainer"].pop("beside", None)
    resolved["trainer"]["parallel_models"] = options.trainer.parallel_models
    return Experiment(model, source, attacks, mitigations, options, resolved)
