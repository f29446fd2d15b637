"""What an attack is: one frozen dataclass per published method, one file each.

`features` queries a target, batch by batch, and is the expensive half. `score` turns
stored features into one number per row (higher = more likely a member), fitting whatever it fits on
calibration rows. Fields marked `score_field` matter to `score` alone: changing one costs no query.
"""

from mia_bench.attacks.base import (
    Access,
    Attack,
    Calibration,
    FeatureExtractor,
    Features,
    FitsClassifier,
    Floats,
    HasPlainVariant,
    HasRemark,
    HasRequirements,
    MasksAttack,
    NeedsBase,
    NeedsCaptions,
    NeedsDecoder,
    NeedsLatentSize,
    NeedsSignal,
    NeedsText,
    ProducesEvidence,
    RepeatsFeatures,
    ReportsFit,
    VersionsCaptions,
    later_field,
    moved_field,
    query_fields,
    score_field,
    score_fields,
)

__all__ = [
    "Access",
    "Attack",
    "Calibration",
    "FeatureExtractor",
    "Features",
    "FitsClassifier",
    "Floats",
    "HasPlainVariant",
    "HasRemark",
    "HasRequirements",
    "MasksAttack",
    "NeedsBase",
    "NeedsCaptions",
    "NeedsDecoder",
    "NeedsLatentSize",
    "NeedsSignal",
    "NeedsText",
    "ProducesEvidence",
    "RepeatsFeatures",
    "ReportsFit",
    "VersionsCaptions",
    "later_field",
    "moved_field",
    "query_fields",
    "score_field",
    "score_fields",
]
