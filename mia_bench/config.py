"""Configuration: where conf/ is, the schema of the root, and the step from yaml to objects.

Open groups (model, data source, attack, mitigation) are `_target_` nodes; the constructor's
signature and type hints are their schema. Everything is checked before anything heavy is loaded.
Nothing beyond this file and main.py sees a DictConfig.
"""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast, get_type_hints

import pydantic
from hydra.core.config_store import ConfigStore
from hydra.utils import get_object
from omegaconf import MISSING, DictConfig, OmegaConf

from mia_bench.errors import MiaError
from mia_bench.recipe import Recipe as Recipe  # the schema of finetune, part of the root
from mia_bench.secret import advice, in_values

if TYPE_CHECKING:
    from mia_bench.attacks import Attack
    from mia_bench.data.source import Source
    from mia_bench.mitigations import Mitigation
    from mia_bench.models import Model


@dataclass
class Data:
    """One data set: where pairs come from and how many of them play which role."""

    name: str = MISSING
    source: Any = MISSING
    sizes: dict[str, Any] = MISSING
    split_seed: int = "${seed}"  # type: ignore[assignment]
    max_distance: int = 6
    max_rmse: float | None = None  # of 16x16 thumbnails: also links sparse drawings
    pools: dict[str, str] = field(default_factory=dict)  # role: the part of the source it draws on
    split: str | None = None  # a published split to import: csv or json
    captions: str | None = "own"  # of the attacker: own, null, file:<path>, pseudo:<captioner>
    on_error: str = "skip"  # or raise, at the first pair that cannot be used
    pretraining: bool = False  # members were in the pre-training: the model is audited as it is

    def split_identity(self, source: Any) -> list[Any]:
        """What decides the split; options at their defaults stay out, so that old keys hold."""
        identity = [source, self.sizes, self.split_seed, self.max_distance]
        given = {"max_rmse": self.max_rmse, "pools": self.pools or None}
        extra = {name: value for name, value in given.items() if value is not None}
        return [*identity, extra] if extra else identity


@dataclass
class CalibrationOptions:
    kind: str = "shadow"
    folds: int = 5
    shadow_mitigation: str = "same"
    """"none": the attacker does not know of the mitigation and trains the shadow without it."""

    def identity(self) -> dict[str, Any]:
        """Without what is at its default since before it existed, so that keys stay."""
        found = dict(vars(self))
        if self.shadow_mitigation == "same":
            del found["shadow_mitigation"]
        if self.kind == "split":
            found["halves"] = (
                2  # the second way to halve the rows; the first shared a hash with folds
            )
        return found


@dataclass
class TrainerOptions:
    accelerator: str = "auto"
    devices: int = 1
    num_nodes: int = 1
    strategy: str = "auto"
    precision: str = "32-true"
    gpu_slots: int | None = None
    workers: int = 0
    compile: str | None = None
    beside: bool = True

    @property
    def ranks(self) -> int:
        """Processes that work together on every model."""
        return self.devices * self.num_nodes


@dataclass
class LoggerOptions:
    wandb: str = "disabled"
    project: str = "mia_bench"
    entity: str | None = None


@dataclass
class Evaluation:
    seed: int = 0
    batch_size: int = 32
    resamples: int = 2000
    base_rows: list[str] | None = None
    base_calibrated: bool = False
    blind_rows: bool = True
    blind_encoder: str | None = None
    access: str = "white_box"
    ensemble: bool = False
    utility: bool = False
    utility_images: int = 200
    utility_clip: str | None = None
    dtype: str | None = None


@dataclass
class Paths:
    outputs: str = "outputs"
    cache_gb: float | None = 20.0  # of latents kept between runs; null: no limit


@dataclass
class Root:
    """The closed part of the configuration; a key that is not here is a typo."""

    model: Any = MISSING
    data: Data = field(default_factory=Data)
    attack: dict[str, Any] = field(default_factory=dict)
    mitigation: dict[str, Any] = field(default_factory=dict)
    finetune: Recipe = field(default_factory=Recipe)
    calibration: CalibrationOptions = field(default_factory=CalibrationOptions)
    trainer: TrainerOptions = field(default_factory=TrainerOptions)
    logger: LoggerOptions = field(default_factory=LoggerOptions)
    eval: Evaluation = field(default_factory=Evaluation)
    paths: Paths = field(default_factory=Paths)
    published: dict[str, Any] = field(default_factory=dict)  # a paper's figures, beside ours
    seed: int = 0
    checkpoint: int | None = None
    plan_only: bool = False
    debug: bool = False


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


def conf_dir() -> Path:
    """conf/ inside an installed package, beside it in a checkout."""
    package = Path(__file__).resolve().parent
    for candidate in (package / "conf", package.parent / "conf"):
        if (candidate / "config.yaml").is_file():
            return candidate
    raise MiaError(f"conf/ was not found beside or inside {package}. Install the package again.")


def register_schema() -> None:
    ConfigStore.instance().store("schema", node=Root)


def to_experiment(cfg: DictConfig) -> Experiment:
    """Check and build every object of a composed configuration.

    Raises:
        MiaError: a key, value or combination that cannot be run; names the nearest valid one.
    """
    from mia_bench.refusals import refuse

    options = cast(Root, OmegaConf.to_object(cfg))
    resolved = cast(dict[str, Any], OmegaConf.to_container(cfg, resolve=True))
    if (problem := in_values(resolved)) is not None:
        raise MiaError(advice(problem))
    if not options.attack:
        raise MiaError("no attack is selected: use attack=clid, attack=[clid,loss] or attack=all.")
    attacks = {name: build(node, f"attack.{name}") for name, node in resolved["attack"].items()}
    model = build(resolved["model"], "model")
    source = build(resolved["data"]["source"], "data.source")
    nodes = resolved["mitigation"]
    mitigations = {name: build(node, f"mitigation.{name}") for name, node in nodes.items()}
    experiment = Experiment(model, source, attacks, mitigations, options, resolved)
    refuse(experiment)
    return experiment


def build(node: Any, key: str) -> Any:
    """Instantiate a `_target_` node after binding it to the constructor's signature and types."""
    if not isinstance(node, Mapping) or "_target_" not in node:
        raise MiaError(f"{key} has no _target_: it must name the class to build, as in conf/.")
    arguments = {name: value for name, value in node.items() if name != "_target_"}
    try:
        kind = get_object(node["_target_"])
    except Exception as error:
        raise MiaError(f"{key}._target_={node['_target_']} cannot be imported: {error}") from error
    parameters = _parameters(kind, f"{key}._target_={node['_target_']}")
    for name in arguments:
        if name not in parameters:
            raise MiaError(f"{key} has no option '{name}'. {nearest(name, parameters)}")
    for name, parameter in parameters.items():
        if parameter.default is inspect.Parameter.empty and name not in arguments:
            raise MiaError(f"{key}.{name} is needed and was not given.")
    hints = get_type_hints(kind if inspect.isfunction(kind) else kind.__init__)
    typed = {name: _typed(value, hints[name], f"{key}.{name}") for name, value in arguments.items()}
    try:
        return kind(**typed)
    except ValueError as error:
        raise MiaError(f"{key}: {error}") from error


def _parameters(kind: Any, key: str) -> Mapping[str, inspect.Parameter]:
    """Options of a class or function. Raises MiaError for what has none to check against."""
    if inspect.isclass(kind) or inspect.isfunction(kind):
        with suppress(ValueError):  # no signature: written in C
            found = inspect.signature(kind).parameters
            if not found:
                return found
            hints = get_type_hints(kind if inspect.isfunction(kind) else kind.__init__)
            if all(name in hints for name in found):
                return found
    raise MiaError(f"{key} is no class with typed options: name one as conf/ does.")


def _typed(value: Any, hint: Any, key: str) -> Any:
    try:
        return pydantic.TypeAdapter(hint).validate_python(value)
    except pydantic.ValidationError as error:
        reason = error.errors()[0]["msg"]
        raise MiaError(f"{key}={value!r} is not valid: {reason}.") from error


def nearest(word: str, known: Iterable[str]) -> str:
    """'Did you mean ...?', or the whole list when nothing is close."""
    options = sorted(known)
    close = difflib.get_close_matches(word, options, n=1, cutoff=0.5)
    return f"Did you mean '{close[0]}'?" if close else f"Known: {', '.join(options)}."
