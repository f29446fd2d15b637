"""Under which key an artefact is kept.

A key is a hash of everything that decides an artefact and of nothing else: devices, chunk sizes,
paths and loggers stay out.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mia_bench.attacks import Attack, HasPlainVariant, query_fields, score_fields
from mia_bench.attacks.components.ensemble import Ensemble
from mia_bench.config.schema import Evaluation, Root
from mia_bench.data.split.manifest import Split
from mia_bench.data.split.roles import Role
from mia_bench.mitigations import TrainingSetup
from mia_bench.storage.hashing import hash_key

METRICS_VERSION = 3


def model_key(base: str, split: Split, member: Role, setup: TrainingSetup, precision: str) -> str:
    """What a fine-tuned model is: the base of the key `base`, trained on the rows of `member`."""
    return hash_key(
        {
            "base": base,
            "split": split.content_hash,
            "data": split.source,
            "role": member,
            "recipe": setup.recipe.identity(),
            "mitigation": setup.identity(),
            "precision": precision,
        }
    )


def feature_name(attack: Attack, rows: Sequence[tuple[str, str]], options: Evaluation) -> str:
    """What a feature table is under its model: an attack's questions about (sample id, caption)."""
    kind = type(attack)
    key = hash_key(
        {
            "attack": f"{kind.__module__}.{kind.__qualname__}",
            "version": attack.version,
            "fields": query_fields(attack),
            "rows": rows,
            "seed": options.seed,
            "dtype": options.dtype or "float32",
        }
    )
    return f"{kind.__module__.rpartition('.')[2]}-{key}"


def run_key(
    name: str,
    attack: Attack,
    tables: Sequence[tuple[str, int | str | None, str] | None],
    options: Root,
    split: str,
    metrics: int = METRICS_VERSION,
) -> str:
    """What a cell is, from its feature tables as (model key, step, name of the folder): of the
    evaluation and calibration rows, and on the base. `split` is its content hash."""
    identity: dict[str, Any] = {
        "name": name,
        "metrics": metrics,
        "features": [table and list(table) for table in tables],
        "score": score_fields(attack),
        "calibration": options.calibration.identity(),
        "evaluation": [options.eval.seed, options.eval.resamples],
        "blind": options.eval.blind_rows,
        "split": split,
    }
    if options.calibration.kind == "split":
        identity["halves"] = options.data.split_seed
    if options.eval.blind_rows and options.eval.blind_encoder is not None:
        identity["blind_encoder"] = options.eval.blind_encoder
    if isinstance(attack, HasPlainVariant) and attack.plain() is not None:
        identity["doubt"] = 1
    return hash_key(identity)


def ensemble_key(runs: Sequence[str], compared: Sequence[str]) -> str:
    """What an ensemble is, from the folders of the cells it combines and is compared with."""
    return hash_key([Ensemble.version, *runs, *(name for name in compared if name not in runs)])
