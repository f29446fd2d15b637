"""Configuration: where conf/ is, the schema of the root, and the step from yaml to objects.

Open groups (model, data source, attack, mitigation) are `_target_` nodes; the constructor's
signature and type hints are their schema. Everything is checked before anything heavy is loaded.
Nothing beyond this file and main.py sees a DictConfig.
"""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast, get_type_hints

import pydantic
from hydra.core.config_store import ConfigStore
from hydra.utils import get_object
from omegaconf import MISSING, DictConfig, OmegaConf

from mia_bench.errors import MiaError

if TYPE_CHECKING:
    from mia_bench.attacks import Attack
    from mia_bench.data.source import Source
    from mia_bench.models import Model


@dataclass
class Data:
    """One data set: where pairs come from and how many of them play which role."""

    name: str = MISSING
    source: Any = MISSING
    sizes: dict[str, Any] = MISSING
    split_seed: int = "${seed}"  # type: ignore[assignment]
    max_distance: int = 6


@dataclass
class Recipe:
    """How a model is fine-tuned: owned by the model yaml, overridden by mitigations."""

    steps: int = MISSING
    batch_size: int = MISSING
    lr: float = MISSING
    warmup: int = 0
    weight_decay: float = 1e-2
    max_grad_norm: float = 1.0
    p_uncond: float = 0.0
    ema_decay: float | None = None
    accumulate: int = 1
    save_at: list[int] = field(default_factory=list)
    val_every: int = 100
    val_rows: int = 64
    checkpoint_every: int = 100
    seed: int = "${seed}"  # type: ignore[assignment]

    def identity(self) -> dict[str, Any]:
        """What decides the weights on disk: not how often they are validated or checkpointed."""
        how_often = {"val_every", "val_rows", "checkpoint_every"}
        if not self.save_at:
            how_often.add("save_at")  # the last step is always saved
        return {name: value for name, value in vars(self).items() if name not in how_often}


@dataclass
class CalibrationOptions:
    kind: str = "shadow"
    folds: int = 5


@dataclass
class TrainerOptions:
    accelerator: str = "auto"
    devices: int = 1
    num_nodes: int = 1
    strategy: str = "auto"
    precision: str = "32-true"


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


@dataclass
class Paths:
    outputs: str = "outputs"


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
    options = cast(Root, OmegaConf.to_object(cfg))
    resolved = cast(dict[str, Any], OmegaConf.to_container(cfg, resolve=True))
    if not options.attack:
        raise MiaError("no attack is selected: use attack=clid, attack=[clid,loss] or attack=all.")
    attacks = {name: build(node, f"attack.{name}") for name, node in resolved["attack"].items()}
    model = build(resolved["model"], "model")
    source = build(resolved["data"]["source"], "data.source")
    _check_options(options, model)
    _check_access(options.eval.access, attacks)
    return Experiment(model, source, attacks, options, resolved)


def build(node: Any, key: str) -> Any:
    """Instantiate a `_target_` node after binding it to the constructor's signature and types."""
    if not isinstance(node, Mapping) or "_target_" not in node:
        raise MiaError(f"{key} has no _target_: it must name the class to build, as in conf/.")
    arguments = {name: value for name, value in node.items() if name != "_target_"}
    try:
        kind = get_object(node["_target_"])
    except Exception as error:
        raise MiaError(f"{key}._target_={node['_target_']} cannot be imported: {error}") from error
    parameters = inspect.signature(kind).parameters
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


def _check_access(allowed: str, attacks: Mapping[str, Attack]) -> None:
    from mia_bench.attacks import Access

    names = [level.name.lower() for level in Access]
    if allowed not in names:
        raise MiaError(f"eval.access={allowed}. {nearest(allowed, names)}")
    above = [n for n, a in attacks.items() if a.access > Access[allowed.upper()]]
    if above:
        raise MiaError(
            f"eval.access={allowed} does not allow {', '.join(above)}, which need more: leave them "
            "out of attack=[...], or raise eval.access."
        )


def _check_options(options: Root, model: Model) -> None:
    """Contradictions that are known before anything is loaded."""
    if options.calibration.kind not in ("shadow", "split"):
        raise MiaError(
            f"calibration.kind={options.calibration.kind}. "
            + nearest(options.calibration.kind, ("shadow", "split"))
        )
    if not model.finetune and options.calibration.kind == "shadow":
        raise MiaError(
            "model.finetune=false audits a model as it is, so there is no recipe to train a shadow "
            "with: add calibration=split."
        )
    recipe = options.finetune
    for name in ("steps", "batch_size", "lr", "accumulate", "val_every", "checkpoint_every"):
        if getattr(recipe, name) <= 0:
            raise MiaError(f"finetune.{name}={getattr(recipe, name)} must be positive.")
    if recipe.batch_size % recipe.accumulate:
        raise MiaError(
            f"finetune.batch_size={recipe.batch_size} is the global batch: it must be a multiple "
            f"of finetune.accumulate={recipe.accumulate}."
        )
    if not 0 <= recipe.p_uncond <= 1:
        raise MiaError(f"finetune.p_uncond={recipe.p_uncond} is a probability.")
    if any(not 0 < step <= recipe.steps for step in recipe.save_at):
        raise MiaError(
            f"finetune.save_at={recipe.save_at} lies outside 1 to finetune.steps={recipe.steps}."
        )
    saved = sorted({*recipe.save_at, recipe.steps})
    if options.checkpoint is not None and options.checkpoint not in saved:
        raise MiaError(
            f"checkpoint={options.checkpoint} is not saved by this recipe. Saved steps: {saved}; "
            f"add finetune.save_at=[{options.checkpoint}]."
        )
    if options.eval.resamples < 100 or options.eval.batch_size < 1:
        raise MiaError("eval.resamples must be at least 100 and eval.batch_size at least 1.")
