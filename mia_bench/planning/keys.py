"""Under which key an artefact is stored: every key of a run is made here.

A key is a hash of everything that decides an artefact and of nothing else: devices, chunk sizes,
paths and loggers stay out. Parts of a run say what decides them in a method of their own
(`identity`, `base_hash`, `content_hash`, `query_fields`); this module puts those together.

Hashes that decide no result are made where they are used: the context of a tuned chunk
(target/chunk_tuning.py), records of failures and marks of what W&B was sent.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mia_bench.attacks import (
    Attack,
    FeatureExtractor,
    HasPlainVariant,
    NamesEncoders,
    NeedsBase,
    VersionsCaptions,
    query_fields,
    score_fields,
)
from mia_bench.attacks.base import LOCAL_PREFIX
from mia_bench.attacks.components.ensemble import Ensemble
from mia_bench.config.schema import Data, Evaluation, Root
from mia_bench.data.split.manifest import Split
from mia_bench.data.split.roles import Role
from mia_bench.mitigations import TrainingSetup
from mia_bench.models.weight_files import contents
from mia_bench.storage import layout
from mia_bench.storage.hashing import hash_file, hash_key
from mia_bench.utils.errors import MiaError
from mia_bench.utils.text import has_unspaced

if TYPE_CHECKING:
    from mia_bench.models import Model

METRICS_VERSION = 3
UTILITY_VERSION = 2
FILE_CONTROL_VERSION = 2
COMBINATION_VERSION = 1
"""Of how an ensemble puts the features of its runs together (`evaluation.inputs.combine`): in its
key once it is above 1."""

CaptionedRows = Sequence[tuple[str, str]]
"""(sample id, caption) of each row."""
ENCODER_FILES = (".safetensors", ".json", ".txt")
"""Of an encoder's folder, what decides its answers: weights, configurations, vocabularies."""


# --- data and models ------------------------------------------------------------------------------


def split_key(data: Data, source: Mapping[str, Any], labelled: bool = False) -> str:
    """The split of a source, which its yaml describes; an imported split is known by its content.

    Args:
        labelled: a column of the data says who is a member, see `membership.by_column`.

    Raises:
        MiaError: data.split names a file that cannot be read.
    """
    identity = data.split_identity(source)
    if data.split is not None:
        try:
            identity.append(hash_file(Path(data.split)))
        except OSError as error:
            raise MiaError(f"data.split={data.split} cannot be read: {error.strerror}.") from error
    if labelled:
        identity.append({"labelled": True})
    return hash_key(identity)


def split_file(
    outputs: Path, data: Data, source: Mapping[str, Any], labelled: bool = False
) -> Path:
    """The manifest of that split. Raises MiaError as `split_key`."""
    return layout.split_file(outputs, data.name, split_key(data, source, labelled))


def base_key(model: Model) -> str:
    """The model before any fine-tune. Raises Missing where its weights are not here."""
    return hash_key({"base": model.base_hash(), "images": model.encoder_hash()})


def model_key(base: str, split: Split, member: Role, setup: TrainingSetup, precision: str) -> str:
    """The base with the key `base`, fine-tuned on the rows of `member`."""
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


# --- what is measured on a model ------------------------------------------------------------------


def feature_name(
    attack: FeatureExtractor, rows: CaptionedRows, options: Evaluation, base: str = ""
) -> str:
    """The name of a feature table under its model: what an attack queries about `rows`.

    Args:
        base: the key of the base, where the attack queries it too.
    """
    kind = type(attack)
    identity: dict[str, Any] = {
        "attack": f"{kind.__module__}.{kind.__qualname__}",
        "version": attack.version,
        "fields": query_fields(attack),
        "rows": rows,
        "seed": options.seed,
        "dtype": options.dtype or "float32",
    }
    if isinstance(attack, VersionsCaptions):
        version = attack.caption_version([caption for _, caption in rows])
        if version is not None:
            identity["captions"] = version
    if isinstance(attack, NeedsBase) and attack.needs_base:
        identity["base"] = base
    if isinstance(attack, NamesEncoders):
        identity |= local_encoders(attack.encoder_names)
    key = hash_key(identity)
    return f"{kind.__module__.rpartition('.')[2]}-{key}"


def local_encoders(names: Iterable[str]) -> dict[str, Any]:
    """What networks of others hold that lie in folders here, for a key that has their names: under
    one name there may be another network tomorrow. Those of a hub go by their names alone.

    Args:
        names: folders, with open_clip's prefix or without, and names of a hub.
    """
    held = {}
    for name in names:
        folder = Path(name.removeprefix(LOCAL_PREFIX))
        if folder.is_dir():
            files = sorted(file for file in folder.iterdir() if file.suffix in ENCODER_FILES)
            held[name] = [[file.name, contents([file])] for file in files if file.is_file()]
    return {"local_encoders": held} if held else {}


def utility_key(
    heldout: CaptionedRows, members: CaptionedRows, options: Evaluation, encoder: str
) -> str:
    """Losses, distances and samples of a model, with images encoded by the hash `encoder`."""
    return hash_key(
        {
            "version": UTILITY_VERSION,
            "heldout": heldout,
            "members": members,
            "images": options.utility_images,
            "clip": options.utility_clip,
            "encoder": encoder,
            "seed": options.seed,
            **local_encoders([options.utility_clip] if options.utility_clip else []),
        }
    )


# --- scores ---------------------------------------------------------------------------------------


def blind_key(rows: CaptionedRows, split: str, resolution: int, options: Evaluation) -> str:
    """The blind baselines of the evaluation rows; `split` is the split's content hash."""
    identity: dict[str, Any] = {
        "rows": rows,
        "split": split,
        "seed": options.seed,
        "resolution": resolution,
        "version": METRICS_VERSION,
    }
    if options.blind_encoder is not None:
        identity["encoder"] = options.blind_encoder
        identity |= local_encoders([options.blind_encoder])
    if any(has_unspaced(caption) for _, caption in rows):  # once told apart as whole captions
        identity["words"] = 2
    return hash_key(identity)


def blind_file_key(rows: Sequence[str], split: str, options: Evaluation) -> str:
    """The blind row of the files of the evaluation rows, whose ids are hashes of those files.

    It is apart from the other blind rows, and in no key of a run: runs from before there was this
    control keep theirs.
    """
    return hash_key(
        {
            "files": FILE_CONTROL_VERSION,
            "rows": list(rows),
            "split": split,
            "seed": options.seed,
            "version": METRICS_VERSION,
        }
    )


def run_key(
    name: str,
    attack: Attack,
    tables: Sequence[tuple[str, int | str | None, str] | None],
    options: Root,
    split: str,
    metrics: int = METRICS_VERSION,
) -> str:
    """Scores and metrics of one attack.

    Args:
        tables: (model key, step, folder name) of the feature tables of evaluation rows, of
            calibration rows, and of both on the base; then, for a run without what complexity
            explains, of the complexity of both; where the target's own outputs are attacked, of
            these as the last.
        split: the split's content hash.
        metrics: the version of the metrics.
    """
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
        identity |= local_encoders([options.eval.blind_encoder])
    if isinstance(attack, HasPlainVariant) and attack.plain() is not None:
        identity["doubt"] = 1
    return hash_key(identity)


def ensemble_key(combined: Sequence[str], compared: Sequence[str]) -> str:
    """The ensemble of the runs `combined`, compared with others: names of their folders."""
    others = (name for name in compared if name not in combined)
    way = [] if COMBINATION_VERSION == 1 else [["combination", COMBINATION_VERSION]]
    return hash_key([Ensemble.version, *combined, *others, *way])


# --- reports --------------------------------------------------------------------------------------


def figures_key(runs: Sequence[str]) -> str:
    """The ROC figure and the verdict on the controls of some runs: names of their folders."""
    return hash_key(list(runs))


def trajectory_key(steps: Sequence[int], names: Sequence[str], seed: int) -> str:
    """A trajectory of the attacks `names` over training steps, under the evaluation seed `seed`."""
    return hash_key([list(steps), sorted(names), seed])
