"""What an attack is: one frozen dataclass per published method, one file each.

`features` queries a target, batch by batch, and is the expensive half. `score` turns
stored features into one number per row (higher = more likely a member), fitting whatever it fits on
calibration rows. Fields marked `score_field` matter to `score` alone: changing one costs no query.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import MISSING, Field, dataclass, field, fields
from enum import IntEnum
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from mia_bench.utils.errors import MiaError

if TYPE_CHECKING:
    from torch import Tensor

    from mia_bench.target import Batch, Target


Floats = npt.NDArray[np.float64]
Features = Mapping[str, npt.NDArray[np.floating[Any]]]
LOCAL_PREFIX = "local-dir:"  # open_clip's own, for a folder with configuration and weights


class Access(IntEnum):
    """What an attack may touch: generations, noise predictions and latents, or gradients too."""

    BLACK_BOX = 1
    GREY_BOX = 2
    WHITE_BOX = 3


@dataclass(frozen=True)
class Calibration:
    """Rows whose membership the attacker knows: stored features, labels, near-duplicate groups."""

    features: Features
    is_member: npt.NDArray[np.bool_]
    group: npt.NDArray[np.str_]
    seed: int = 0

    def take(self, rows: npt.NDArray[np.intp]) -> Calibration:
        picked = {name: values[rows] for name, values in self.features.items()}
        return Calibration(picked, self.is_member[rows], self.group[rows], self.seed)

    def require(self, least: int) -> None:
        """Raises MiaError unless there are `least` rows of each class to fit on."""
        members, others = int(self.is_member.sum()), int((~self.is_member).sum())
        if min(members, others) < least:
            raise MiaError(
                f"{members} members and {others} non-members are left to fit a classifier on; at "
                f"least {least} of each are needed. Use larger data.sizes for the calibration "
                "rows, or a larger calibration.folds."
            )


class FeatureExtractor(Protocol):
    """What is extracted of images by querying a model: an attack's features, or covariates."""

    access: ClassVar[Access]

    @property
    def version(self) -> int:
        """Raised when the numbers change, so that stored features of older code are not reused."""

    @property
    def statistics(self) -> bool:
        """Features are statistics, for which a difference to the base model's means something."""

    @property
    def nfe(self) -> tuple[int, int]:
        """Most U-Net (forward, backward) evaluations per sample; equal queries run once."""

    def asks_at(self, schedule: int) -> Sequence[int]:
        """Timesteps, of `schedule` many, at which the U-Net is queried.

        Raises MiaError where a schedule is too short, also for a step that is moved to and not
        asked at; a timestep may lie outside it.
        """

    def features(self, target: Target, batch: Batch) -> dict[str, Tensor]:
        """Statistics of a batch, each (B, *f), on the target's device; never sees labels."""


class Attack(FeatureExtractor, Protocol):
    """An extractor whose features are scored."""

    def score(self, features: Features, calibration: Calibration) -> Floats:
        """(N,) row by row: score(features[rows]) == score(features)[rows]."""


@runtime_checkable
class NeedsCaptions(Protocol):
    """An attack that may measure nothing where captions are empty."""

    @property
    def needs_captions(self) -> bool: ...


@runtime_checkable
class NeedsDecoder(Protocol):
    """An attack that may need the gradients of a decoder, which a model in pixel space lacks."""

    @property
    def needs_decoder(self) -> bool: ...


@runtime_checkable
class NeedsSignal(Protocol):
    """An attack that estimates the clean image where it asks: from pure noise, with which some
    schedules end, there is no such estimate."""

    @property
    def needs_signal(self) -> bool: ...


@runtime_checkable
class MasksAttack(Protocol):
    """An attack that is another one under a mask, which every model can serve without it."""

    @property
    def host(self) -> str:
        """Name of the other attack."""


@runtime_checkable
class NeedsBase(Protocol):
    """An attack that may query the model before its fine-tuning too, as `target.base`."""

    @property
    def needs_base(self) -> bool: ...


@runtime_checkable
class NeedsText(Protocol):
    """An attack on what a model does with text, which may do without captions of the images."""

    @property
    def needs_text(self) -> bool: ...


@runtime_checkable
class VersionsCaptions(Protocol):
    """An attack that reads some captions otherwise than earlier versions did."""

    def caption_version(self, captions: Sequence[str]) -> int | None:
        """How captions are read, in the key of their features; None: as they always were."""


@runtime_checkable
class NamesEncoders(Protocol):
    """An attack whose features depend on networks of others, which options name."""

    @property
    def encoder_names(self) -> Sequence[str]:
        """Folders, with open_clip's "local-dir:" before them or without, and names of a hub."""


@runtime_checkable
class FitsClassifier(Protocol):
    """An attack that fits a classifier, with the fewest calibration rows of each class it takes."""

    @property
    def least_rows(self) -> int: ...


@runtime_checkable
class HasRequirements(Protocol):
    """An attack that can find out before a model is loaded that it cannot be carried out."""

    def check(self, schedule: int, resolution: int) -> None:
        """Raises MiaError for options that do not fit models of this schedule and image size."""

    def fetch(self) -> None:
        """Raises MiaError unless weights and packages from outside are here, or can be had now."""


@runtime_checkable
class NeedsLatentSize(Protocol):
    """An attack with options that must fit the size of the latents."""

    def check_latents(self, side: int) -> None:
        """Raises MiaError for options that do not fit latents of `side` cells a side."""


@runtime_checkable
class RepeatsFeatures(Protocol):
    """An attack that stores some of what it measures a second time, arranged for its own score."""

    @property
    def repeated(self) -> tuple[str, ...]:
        """Names of such features, which an ensemble leaves out."""


@runtime_checkable
class HasPlainVariant(Protocol):
    """An attack that claims more than a plain one on the same features, and has to show it."""

    def plain(self) -> tuple[str, Attack, str] | None:
        """Name of the plain attack, the attack, and the sentence to print where the two agree;
        None: it is the plain one itself."""


@runtime_checkable
class ReportsFit(Protocol):
    """An attack that can report what it chose on the calibration rows."""

    def chosen(self, calibration: Calibration) -> dict[str, float]: ...


@runtime_checkable
class HasRemark(Protocol):
    """An attack with something to say beside its numbers: what it generates, what compares it."""

    @property
    def remark(self) -> str:
        """One clause, printed in the plan before anything runs, and stored with every run."""


def score_field(default: Any = MISSING) -> Any:
    """A dataclass field that only `score` reads; it is left out of the identity of features."""
    return field(default=default, metadata={"stage": "score"})


def later_field(default: Any) -> Any:
    """A field that came after features were stored: in their identity only when not at `default`,
    so that what is stored stays valid."""
    return field(default=default, metadata={"later": True})


def moved_field(default: Any, moved: Mapping[str, str]) -> Any:
    """A field that holds a dotted path; `moved` leads from former paths to those of today. Features
    keep the identity that they had under the former path."""
    former = {today: before for before, today in moved.items()}
    return field(default=default, metadata={"former": former})


def query_fields(attack: FeatureExtractor) -> dict[str, Any]:
    """Name and value of every field that decides which queries `features` makes."""
    every: tuple[Field[Any], ...] = fields(attack)  # type: ignore[arg-type]
    values: dict[str, Any] = {}
    for f in every:
        value = getattr(attack, f.name)
        # features stored before a later field came, or under a former path, stay valid
        added_later = f.metadata.get("later") and value == f.default
        if f.metadata.get("stage") != "score" and not added_later:
            former = f.metadata.get("former")
            values[f.name] = former.get(value, value) if former else value
    return values


def score_fields(attack: Attack) -> dict[str, Any]:
    """Name and value of every field that only `score` reads."""
    every: tuple[Field[Any], ...] = fields(attack)  # type: ignore[arg-type]
    return {f.name: getattr(attack, f.name) for f in every if f.metadata.get("stage") == "score"}


@runtime_checkable
class ProducesEvidence(Protocol):
    """An attack that can show the images it compared."""

    def evidence(self, target: Target, batch: Batch) -> dict[str, Tensor]:
        """Images (B, 3, H, W) in [-1, 1] by panel name: the same every time it is called."""
