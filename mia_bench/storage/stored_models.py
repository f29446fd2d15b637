"""What stored files hold: the types that are checked before anything is read from them.

Every entry may be missing but those without which a file means nothing; entries that a model does
not name are kept. Other versions wrote more, or less.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

Number = Annotated[float, Field(allow_inf_nan=False)]
ROUNDING = 1e-9
Share = Annotated[float, Field(allow_inf_nan=False, ge=-ROUNDING, le=1 + ROUNDING)]
Count = Annotated[int, Field(ge=0, lt=2**64)]
Integer = Annotated[int, Field(ge=-(2**63), lt=2**64)]


class StoredModel(BaseModel):
    """Types are those that were written: no number is made of a text. More entries are allowed."""

    model_config = ConfigDict(extra="allow", strict=True, frozen=True)


class StoredInterval(StoredModel):
    """A share that is always there, with the bounds of its interval."""

    value: Share
    lo: Share | None = None
    hi: Share | None = None


class StoredShare(StoredModel):
    """A share with its interval, or null with the reason."""

    value: Share | None = None
    lo: Share | None = None
    hi: Share | None = None
    low_resolution: bool = False


class StoredFigure(StoredModel):
    """A difference with its interval, or null with the reason."""

    value: Number | None = None
    lo: Number | None = None
    hi: Number | None = None
    low_resolution: bool = False


class StoredControl(StoredModel):
    """A blind baseline (`auroc` is a number) or the base model (it has an interval)."""

    auroc: Share | StoredInterval
    p_value: Share


class StoredPlainVariant(StoredModel):
    """The plainer attack on the same features, and the paired difference to it."""

    name: str = ""
    auroc: Share | None = None
    difference: StoredFigure | None = None
    remark: str = ""


class StoredBestSingle(StoredModel):
    """The best single attack, and the paired differences of an ensemble to it."""

    attack: str = ""
    difference: dict[str, StoredFigure] | None = None


class StoredComparison(StoredModel):
    """An ensemble beside the best single attack."""

    best_by_calibration: StoredBestSingle | None = None


class StoredDatasetTest(StoredModel):
    """Images needed for dataset inference."""

    samples_needed: Integer | None = None


class StoredMetrics(StoredModel):
    """metrics.json of a run."""

    auroc: StoredInterval | None = None
    asr: StoredShare | None = None
    tpr_calibrated: StoredShare | None = None
    realised_fpr: StoredShare | None = None
    tpr_at_fpr: dict[str, StoredShare] = {}
    asr_oracle: Share | None = None
    asr_oracle_permuted: Share | None = None
    n_members: Count = 0
    n_nonmembers: Count = 0
    nfe_forward: Number = 0.0
    nfe_backward: Number = 0.0
    nfe_paid: Number = 0.0
    seconds: Number = 0.0
    flags: list[str] = []
    thresholds: dict[str, Any] = {}
    controls: dict[str, StoredControl] = {}
    dataset_test: StoredDatasetTest | None = None
    chosen: dict[str, Any] = {}
    plain: StoredPlainVariant | None = None
    compared: StoredComparison | None = None


class StoredCost(StoredModel):
    """What a feature table cost: U-Net evaluations per image, and seconds in all."""

    rows: Integer = 0
    seconds: Number = 0.0
    nfe_forward: Number = 0.0
    nfe_backward: Number = 0.0
    nfe_paid: Number = 0.0


class StoredManifest(StoredModel):
    """manifest.json of a model, a feature table, a run, controls or utility."""

    files: dict[str, str] = {}
    seal: str | None = None
    command: list[str] = []
    created: str = ""
    machine: str = ""
    platform: str = ""
    python: str = ""
    versions: dict[str, str] = {}
    git_commit: str | None = None
    git_dirty: bool = False
    wall_seconds: Number = 0.0
    access: str = ""
    split: str = ""
    features: list[str] = []
    models: dict[str, str | None] = {}
    cells: list[str] = []
    compared: list[str] = []
    blind: str | None = None
    model: str = ""
    kind: str = ""
    base: str = ""
    steps: Integer | None = None
    epochs: Number | None = None
    device: str = ""
    batch_size: Integer | None = None
    seconds_per_step: Number | None = None
    cost: StoredCost | None = None


class StoredData(StoredModel):
    """`data` of a configuration."""

    name: str
    source: dict[str, Any] | None = None


class StoredConfig(StoredModel):
    """config.yaml: what is read from it without building anything."""

    model: dict[str, Any]
    data: StoredData
    seed: Integer
    attack: dict[str, Any] = {}
    mitigation: dict[str, Any] | None = None
    eval: dict[str, Any] = {}


class StoredEvidenceRow(StoredModel):
    """One picture of an attack's evidence."""

    file: str
    sample_id: str = ""
    caption: str | None = None
    score: Number | None = None
    is_member: bool | None = None
    why: str = ""


class StoredEvidenceIndex(StoredModel):
    """index.json of an evidence folder, in the order in which the rows were chosen."""

    rows: list[StoredEvidenceRow]


class StoredControls(StoredModel):
    """controls.json: blind baselines by name."""

    __pydantic_extra__: dict[str, StoredControl]
