"""Configuration: where conf/ is, the schema of the root, and the step from yaml to objects.

Open groups (model, data source, attack, mitigation) are `_target_` nodes; the constructor's
signature and type hints are their schema. Everything is checked before anything heavy is loaded.
Nothing beyond this file and main.py sees a DictConfig.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from omegaconf import MISSING

from mia_bench.config.recipe import Recipe


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
        """What decides the split, given the yaml of the source.

        Newer options are left out at their defaults, so that the keys of older splits hold.
        """
        identity = [source, self.sizes, self.split_seed, self.max_distance]
        newer = {"max_rmse": self.max_rmse, "pools": self.pools or None}
        chosen = {name: value for name, value in newer.items() if value is not None}
        return [*identity, chosen] if chosen else identity


# How calibration=split halves the evaluation rows (metrics/group_folds.calibrating). The first
# version took halves and folds from one hash, so that the rows of a half shared a fold.
HALVING_VERSION = 2


@dataclass
class CalibrationOptions:
    kind: str = "shadow"
    folds: int = 5
    shadow_mitigation: str = "same"
    """"none": the attacker does not know of the mitigation and trains the shadow without it."""

    def identity(self) -> dict[str, Any]:
        """What decides how an attack is calibrated.

        `shadow_mitigation` is left out at its default, which is older than the option, so that the
        keys of older runs hold.
        """
        identity: dict[str, Any] = dict(vars(self))
        if self.shadow_mitigation == "same":
            del identity["shadow_mitigation"]
        if self.kind == "split":
            identity["halves"] = HALVING_VERSION
        return identity


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
    parallel_models: bool = True
    """Small models on a CPU: train target and shadow, and extract their features, in parallel."""
    beside: bool | None = None
    """The name of `parallel_models` in earlier versions, read from the command line and from stored
    configurations."""

    def __post_init__(self) -> None:
        if self.beside is not None:
            self.parallel_models, self.beside = self.beside, None

    @property
    def ranks(self) -> int:
        """Processes of a distributed run, all at work on the same model."""
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
