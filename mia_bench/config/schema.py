"""The schema of the configuration: every key that is not of an open group, with its default.

Open groups (model, data source, attack, mitigation) are `_target_` nodes, whose schema is the
constructor's signature (instantiate.py); the schema of `finetune` is in recipe.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from omegaconf import MISSING

from mia_bench.config.recipe import Recipe


@dataclass
class Data:
    """One data set: where pairs come from and how many of them play which role."""

    name: str = MISSING
    """Name of the data set, in tables and in names of files."""
    source: Any = MISSING
    """The reader: a `_target_` and its arguments."""
    sizes: dict[str, Any] = MISSING
    """Rows per role: counts (5) or shares (0.05); validation null: the rest."""
    split_seed: int = "${seed}"  # type: ignore[assignment]
    """Decides which near-duplicate group plays which role."""
    max_distance: int = 6
    """Bits of 64 in which perceptual hashes of near-duplicates may differ."""
    max_rmse: float | None = None
    """Root-mean-square difference of 16 x 16 thumbnails up to which two images are near-duplicates
    too, for sparse drawings; null: perceptual hashes alone."""
    pools: dict[str, str] = field(default_factory=dict)
    """Role: the part of the source that it draws on, e.g. `{target_member: train2017}`."""
    split: str | None = None
    """A file that says who is a member: csv, tsv, json, jsonl or parquet (name or sample_id, and
    role, is_member, member or split), a .txt of members' names, or an .npz of positions."""
    random_labels: bool = False
    """Where a model is audited as it is and nothing says who is a member, deal members at random: a
    null experiment, in which there is nothing to find."""
    duplicates: str | None = None
    """What links near-duplicates: image, caption, both or none; null: both, but for captions that
    say nothing of one picture (more than 5 % of the rows share it, or fewer than a fifth of the
    rows' captions are distinct)."""
    captions: str | None = "own"
    """Captions that the attacker has: own, null, file:<path> or pseudo:<captioner>."""
    on_error: str = "skip"
    """At a pair that cannot be used: skip (and count it) or raise."""
    pretraining: bool = False
    """Members were in the pre-training: the model is audited as it is, never fine-tuned."""

    def split_identity(self, source: Any) -> list[Any]:
        """What decides the split, given the yaml of the source.

        Newer options are left out at their defaults, so that the keys of older splits hold.
        """
        identity = [_older(source), self.sizes, self.split_seed, self.max_distance]
        newer = {
            "max_rmse": self.max_rmse,
            "pools": self.pools or None,
            "duplicates": self.duplicates,
        }
        chosen = {name: value for name, value in newer.items() if value is not None}
        return [*identity, chosen] if chosen else identity


LATER_SOURCE_OPTIONS: dict[str, Any] = {"member": None, "follow_links": False}
"""Options of sources that came after splits were stored, and what they do when they are not set."""


def _older(source: Any) -> Any:
    """The yaml of a source without newer options that are at their defaults."""
    if not isinstance(source, Mapping):
        return source
    later = LATER_SOURCE_OPTIONS
    return {k: v for k, v in source.items() if k not in later or v != later[k]}


# How calibration=split halves the evaluation rows (metrics/group_folds.calibrating). The first
# version took halves and folds from one hash, so that the rows of a half shared a fold.
HALVING_VERSION = 2


@dataclass
class CalibrationOptions:
    kind: str = "shadow"
    """Rows to calibrate on: those of a shadow model, or half of the evaluation rows (split)."""
    folds: int = 5
    """Parts for scores out of fold, cut between near-duplicate groups."""
    shadow_mitigation: str = "same"
    """Of the shadow: same as the target's, or none, for an attacker who does not know of it."""
    halves: str = "hashed"
    """With split: hashed, every group by its own hash; or stratified, as many groups of members and
    of non-members in either half, and no half kept from attacks that fit nothing on labels."""

    def identity(self) -> dict[str, Any]:
        """What decides how an attack is calibrated.

        `shadow_mitigation` and `halves` are left out at their defaults, which are older than the
        options, so that the keys of older runs hold.
        """
        identity: dict[str, Any] = dict(vars(self))
        if self.shadow_mitigation == "same":
            del identity["shadow_mitigation"]
        del identity["halves"]
        if self.kind == "split":
            identity["halves"] = HALVING_VERSION
            if self.halves != "hashed":
                identity["halves"] = self.halves
        return identity


@dataclass
class TrainerOptions:
    accelerator: str = "auto"
    """Lightning's: auto, cpu, gpu."""
    devices: int = 1
    """Processes of one machine that share every fine-tune and predict pass."""
    num_nodes: int = 1
    """Machines likewise; every rank runs the same command."""
    strategy: str = "auto"
    """Lightning's: auto or ddp."""
    precision: str = "32-true"
    """Of fine-tuning: 32-true, bf16-mixed or 16-mixed; weights are kept in float32."""
    gpu_slots: int | None = None
    """Parallel jobs of a machine take one GPU each, from the first N (-1: all); null: no turns."""
    workers: int = 0
    """Processes that read and decode images ahead of the model."""
    compile: str | None = None
    """torch.compile of the U-Net while scoring: default, reduce-overhead or max-autotune."""
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
    """Mirror on Weights & Biases: disabled, offline or online."""
    project: str = "mia_bench"
    """W&B project."""
    entity: str | None = None
    """W&B user or team; null: the default of the login."""


@dataclass
class Evaluation:
    seed: int = 0
    """Of noise, folds, bootstrap and permutations."""
    batch_size: int = 32
    """Images per predict step: speed, memory and last digits only."""
    resamples: int = 2000
    """Bootstrap resamples of every interval, at least 100."""
    base_rows: list[str] | None = None
    """Attacks that also run on the untouched base, as a control; null: all, []: none."""
    base_calibrated: bool = False
    """Add rows `<attack>-base`, whose features have the base model's subtracted before any fit."""
    complexity: bool = False
    """Add rows `<attack>-complexity`: scores without what image complexity explains of them among
    calibration non-members, for everyone who has no base model."""
    blind_rows: bool = True
    """Run the blind baselines: classifiers that never query the model, as controls."""
    blind_encoder: str | None = None
    """What blind baselines see of images: null: statistics; else an open_clip embedding,
    `<model>/<pretrained tag>`, e.g. ViT-B-32/laion2b_s34b_b79k."""
    access: str = "white_box"
    """Highest access allowed: black_box, grey_box or white_box; attacks above it are refused."""
    inapplicable: str = "refuse"
    """Attacks that this model or data cannot serve, as those that compare captions where there are
    none, mask latents where there is no decoder, or query a base that is not known: refuse, or skip
    and say so, as attack=all does."""
    ensemble: bool = False
    """Add a classifier over the features of all grey-box attacks, fitted on calibration rows."""
    own_outputs: bool = False
    """Carry out every grey-box attack on pictures that the target itself generated, as a control:
    how many does it call members? Refused where no attack is a grey-box one."""
    own_outputs_images: int = 200
    """How many of them at most, each from the caption of an evaluation non-member."""
    utility: bool = False
    """Measure what target and base are good for: held-out loss, distances, samples."""
    utility_images: int = 200
    """Images generated and compared for it, at least 2."""
    utility_clip: str | None = None
    """open_clip `<model>/<pretrained tag or file>` for a CLIP score; null: none."""
    dtype: str | None = None
    """Of the U-Net while scoring: bfloat16, float16 or tf32, under keys of its own; null: the
    model's."""


@dataclass
class Paths:
    outputs: str = "outputs"
    """Folder of everything that is written."""
    cache_gb: float | None = 20.0
    """Gigabytes of latents kept between runs, least recently used first to go; null: no limit."""


@dataclass
class Root:
    """The closed part of the configuration; a key that is not here is a typo."""

    model: Any = MISSING
    """A `_target_` and its arguments, see the models below."""
    data: Data = field(default_factory=Data)
    attack: dict[str, Any] = field(default_factory=dict)
    """Attacks by name, see below."""
    mitigation: dict[str, Any] = field(default_factory=dict)
    """Mitigations by name, see below."""
    finetune: Recipe = field(default_factory=Recipe)
    calibration: CalibrationOptions = field(default_factory=CalibrationOptions)
    trainer: TrainerOptions = field(default_factory=TrainerOptions)
    logger: LoggerOptions = field(default_factory=LoggerOptions)
    eval: Evaluation = field(default_factory=Evaluation)
    paths: Paths = field(default_factory=Paths)
    published: dict[str, Any] = field(default_factory=dict)
    """A paper's figures, shown beside ours."""
    seed: int = 0
    """Gives data.split_seed, finetune.seed and eval.seed unless they are set."""
    checkpoint: int | None = None
    """Optimiser step that is attacked, among those saved; null: the last, or the best validated."""
    plan_only: bool = False
    """Print what would run, check what can be checked, and stop."""
    debug: bool = False
    """Show tracebacks."""
