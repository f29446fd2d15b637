"""An experiment: the composed configuration and the objects that it describes, checked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from mia_bench.config.empty_paths import refuse_empty_paths
from mia_bench.config.error_messages import explain, group_options
from mia_bench.config.instantiate import build
from mia_bench.config.schema import Root
from mia_bench.config.secrets import refuse_secrets, secret_advice, secret_in_values
from mia_bench.config.validate import check_finite
from mia_bench.planning.applicable import check_mode, lacks_of, left_out
from mia_bench.planning.contracts import refuse
from mia_bench.planning.noise_levels import at_timesteps
from mia_bench.storage.command import PROGRAM, command_runs, recorded_as
from mia_bench.utils.errors import MiaError

if TYPE_CHECKING:
    from mia_bench.attacks import Attack
    from mia_bench.data.source import Source
    from mia_bench.mitigations import Mitigation
    from mia_bench.models import Model


def compose(*overrides: str) -> Experiment:
    """The checked objects of `python -m mia_bench <overrides>`.

    Raises:
        MiaError: what the command line would say.
        HydraException, OmegaConfBaseException: the same within a command, which explains them.
    """
    from hydra import compose as hydra_compose
    from hydra import initialize_config_dir

    from mia_bench.config.compose import conf_dir, register_schema

    refuse_secrets(overrides)
    refuse_empty_paths(overrides)
    register_schema()
    try:
        with initialize_config_dir(str(conf_dir()), version_base="1.3"):
            return to_experiment(hydra_compose("config", overrides=list(overrides)))
    except (HydraException, OmegaConfBaseException) as error:
        if command_runs():
            raise
        with recorded_as([PROGRAM, *overrides]):  # the words that are looked at for what is wrong
            message = explain(error)
        raise MiaError(message or str(error)) from error


@dataclass(frozen=True)
class Experiment:
    """Everything one run needs, as objects; `resolved` is the configuration it came from."""

    model: Model
    source: Source
    attacks: dict[str, Attack]
    mitigations: dict[str, Mitigation]
    options: Root
    resolved: dict[str, Any]
    left_out: dict[str, str] = field(default_factory=dict)
    """Why attacks of the configuration are not carried out, by name."""
    unselected: tuple[str, ...] = ()
    """Attacks of which an experiment sets options, though they are not selected."""

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
    check_finite(resolved)
    if not options.attack:
        raise MiaError("no attack is selected: use attack=clid, attack=[clid,loss] or attack=all.")
    unselected = _unselected(resolved["attack"])
    for name in unselected:
        del resolved["attack"][name]
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
    return _served(
        Experiment(model, source, attacks, mitigations, options, resolved, unselected=unselected)
    )


def _unselected(nodes: Mapping[str, Any]) -> tuple[str, ...]:
    """Known attacks of which there are options alone.

    An experiment sets options for all its attacks, and the command line selects some of these.

    Raises:
        MiaError: no attack is left.
    """
    bare = {n for n, node in nodes.items() if isinstance(node, Mapping) and "_target_" not in node}
    known = set(group_options("attack")) if bare else set()  # reads folders
    bare_attacks = tuple(name for name in nodes if name in bare & known)
    if len(bare_attacks) == len(nodes):
        raise MiaError(
            f"no attack is selected: there are options of {', '.join(bare_attacks)} alone; add "
            f"attack={bare_attacks[0]}."
        )
    return bare_attacks


def _served(experiment: Experiment) -> Experiment:
    """The experiment without the attacks that its model cannot serve.

    Raises:
        MiaError: as `applicable.left_out`.
    """
    mode = experiment.options.eval.inapplicable
    check_mode(mode)
    return leave_out(experiment, left_out(experiment.attacks, lacks_of(experiment.model), mode))


def leave_out(experiment: Experiment, reasons: Mapping[str, str]) -> Experiment:
    """The experiment without the attacks that `reasons` names."""
    nodes = {n: node for n, node in experiment.resolved["attack"].items() if n not in reasons}
    return replace(
        experiment,
        attacks={n: a for n, a in experiment.attacks.items() if n not in reasons},
        resolved={**experiment.resolved, "attack": nodes},
        left_out={**experiment.left_out, **reasons},
    )
