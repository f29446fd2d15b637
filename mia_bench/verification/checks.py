"""Whether a finished run is what it says: one `Check` per question, in words.

Everything is recomputed from what is stored, at zero U-Net evaluations: scores from feature tables,
metrics from scores, keys from the configuration. What is not on this machine is not checked, and
said to be.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np

from mia_bench.data.split.manifest import Row
from mia_bench.data.split.roles import Role
from mia_bench.evaluation.inputs import Labels, calibrating_half
from mia_bench.evaluation.labelled_features import MEMBER_ROLES
from mia_bench.mitigations import TakesCaptions, TrainingSetup, apply_mitigations
from mia_bench.planning.keys import METRICS_VERSION, base_key, model_key
from mia_bench.planning.specs import EVALUATION_ROLES, SHADOW_ROLES
from mia_bench.storage import layout
from mia_bench.storage.stored_files import Unreadable, changed_files, read_manifest
from mia_bench.utils.errors import MiaError, Missing
from mia_bench.verification.beside import check_pictures, check_utility
from mia_bench.verification.recompute import check_controls, check_metrics, check_roc, check_scores
from mia_bench.verification.result import (
    DIFFERS,
    NOTE,
    OK,
    UNCHECKED,
    Check,
    Finding,
    few,
    verdict,
)
from mia_bench.verification.stored_run import StoredRun
from mia_bench.verification.untrusted import NotHere, build_own, inside

FILES = (layout.CONFIG_FILE, layout.METRICS_FILE, layout.SCORES_FILE, layout.ROC_FILE)


def checks(run: StoredRun) -> Iterator[Check]:
    """Every check of a finished run; one that cannot be carried out says why."""
    every_check: dict[str, Callable[[StoredRun], Finding]] = {
        "files": check_files,
        "versions": check_versions,
        "key": check_key,
        "split": check_split,
        "rows": check_rows,
        "models": check_models,
        "features": check_features,
        "scores": check_scores,
        "metrics": check_metrics,
        "controls": check_controls,
        "roc": check_roc,
        "pictures": check_pictures,
        "utility": check_utility,
    }
    for name, check in every_check.items():
        try:
            state, message = check(run)
        except NotHere as absent:
            state, message = UNCHECKED, str(absent)
        except MiaError as error:
            state, message = DIFFERS, str(error)
        except Exception as error:  # whatever a damaged or foreign file does to its reader
            reason = f"{type(error).__name__}: {error}"
            state, message = DIFFERS, f"not as this version writes runs: {reason}"
        yield Check(name, state, " ".join(message.split()))


def check_files(run: StoredRun) -> Finding:
    """Hashes of the files beside the manifest, and its seal."""
    listed = run.entry("files")
    unlisted = [name for name in FILES if name not in listed]
    if unlisted:
        return DIFFERS, f"the manifest lists no {', '.join(unlisted)}: it is of another version"
    differences = changed_files(run.folder, run.manifest)
    return verdict(differences, f"{len(listed)} files have the hashes of the manifest")


def check_versions(run: StoredRun) -> Finding:
    other = run.other_versions
    return (NOTE, f"made with {'; '.join(other)}") if other else (OK, "the same packages as here")


def check_key(run: StoredRun) -> Finding:
    """Configuration and feature tables give the key that the folder is named after."""
    stored, version = run.ref.key, run.metrics_version
    if version is None:
        return DIFFERS, (
            f"configuration and tables give the key {run.key()}, not {stored}: "
            f"{layout.CONFIG_FILE} was edited, or the run is of another version"
        )
    if version < METRICS_VERSION:
        return NOTE, (
            f"made with version {version} of the metrics, here {METRICS_VERSION}: what is drawn at "
            "random is not compared; the same command makes the run again"
        )
    return OK, f"configuration and tables give {stored}"


def check_split(run: StoredRun) -> Finding:
    split = run.split
    return OK, f"{len(split.table):,} rows of {split.source} have the hash {split.content_hash}"


def check_rows(run: StoredRun) -> Finding:
    """Sample ids, groups, roles and labels of the scores are those of the split."""
    scores = run.scores
    half = not run.shadowed
    row = {r.sample_id: r for r in run.split.table}
    differences = []
    for calibration, roles in (
        (False, EVALUATION_ROLES),
        (True, EVALUATION_ROLES if half else SHADOW_ROLES),
    ):
        wanted = list(run.rows(*roles))
        if half:
            side = _calibrating_side(run, [row[sid] for sid in wanted])
            wanted = [sid for sid, s in zip(wanted, side, strict=True) if s == calibration]
        stored = scores[scores.calibration == calibration]
        kind = "calibration" if calibration else "evaluation"
        ids = stored.sample_id.tolist()
        if len(set(ids)) != len(ids):
            differences.append(f"{kind} rows occur twice")
        for verb, others in (("lack", set(wanted) - set(ids)), ("add", set(ids) - set(wanted))):
            if others:
                differences.append(f"{kind} rows {verb} {len(others)}: {few(sorted(others))}")
        for r in stored.itertuples():
            split_row = row.get(str(r.sample_id))
            if split_row is None:
                continue
            is_member = split_row.role in MEMBER_ROLES
            expected = split_row.group, str(split_row.role), is_member
            if (r.group, r.role, bool(r.is_member)) != expected:
                differences.append(
                    f"{r.sample_id} is {r.role} in {r.group}, in the split {split_row.role}"
                )
    return verdict(differences, f"{len(scores):,} sample ids, groups and roles are the split's")


def _calibrating_side(run: StoredRun, rows: Sequence[Row]) -> Labels:
    """(N,) which rows of the target calibrate; none where an attack without a fit is judged on all
    of them, whose scores are computed again as such."""
    calibration = run.options.calibration
    if calibration.halves == "stratified" and not run.scores.calibration.any():
        return np.zeros(len(rows), dtype=np.bool_)
    group = np.array([row.group for row in rows])
    is_member = np.array([row.role in MEMBER_ROLES for row in rows])
    return calibrating_half(group, is_member, run.options.data.split_seed, calibration)


def check_models(run: StoredRun) -> Finding:
    """Weights of target and shadow are unchanged, of this split, and of this configuration."""
    differences, absent, models = [], [], []
    base_key = _base_key(run)
    for kind in ("target", "shadow"):
        key = run.entry("models", kind)
        if key is None:
            continue
        if key == base_key:
            models.append(f"{kind} is the base {key}")
            continue
        folder = inside(run.outputs, layout.model_folder(run.outputs, str(key)))
        if not (folder / layout.MANIFEST_FILE).is_file():
            absent.append(f"{kind} {key}")
            continue
        differences += _model_differences(run, kind, folder, base_key)
        models.append(f"{kind} {key}")
    unavailable = f"{', '.join(absent)} not here any more" if absent else ""
    return verdict(differences, f"{', '.join(models)}: files, split and recipe", unavailable)


def _model_differences(run: StoredRun, kind: str, folder: Path, base_key: str | None) -> list[str]:
    """Where the target or shadow in `folder` is not what the run and its own manifest say."""
    manifest = read_manifest(folder)
    split, base = manifest.get("split"), str(manifest.get("base"))
    differences = [f"{kind}: {words}" for words in changed_files(folder, manifest)]
    if split != run.entry("split"):
        differences.append(f"{kind} was trained on the split {split}")
    differences += _other_key(run, kind, folder.name, base)
    if base_key is not None and base != base_key:
        differences.append(f"{kind} was trained from the base {base}, not {base_key}")
    return differences


def _other_key(run: StoredRun, kind: str, key: str, base: str) -> list[str]:
    try:
        setup = _setup(run, kind)
    except NotHere:
        return []
    recipe = model_key(base, run.split, _trained_role(kind), setup, run.options.trainer.precision)
    return [] if recipe == key else [f"the configuration gives the {kind} {recipe}, not {key}"]


def _setup(run: StoredRun, kind: str) -> TrainingSetup:
    """How the target or the shadow was trained, as the configuration has it."""
    options, member = run.options, _trained_role(kind)
    unaware = kind == "shadow" and options.calibration.shadow_mitigation == "none"
    nodes = run.config.get("mitigation") or {}
    made = {name: build_own(node, f"mitigation.{name}") for name, node in nodes.items()}
    if any(isinstance(mitigation, TakesCaptions) for mitigation in made.values()):
        raise NotHere("the machine captions that it was trained on are not read again")
    return apply_mitigations(
        {} if unaware else made,
        nodes,
        options.finetune,
        len(run.rows(member)),
        len(run.rows(Role.VALIDATION)),
        options.trainer.ranks,
        options.trainer.precision,
    )


def _trained_role(kind: str) -> Role:
    return Role.TARGET_MEMBER if kind == "target" else Role.SHADOW_MEMBER


def _base_key(run: StoredRun) -> str | None:
    """The key of the untouched base, where its weights are here."""
    try:
        model = build_own(run.config.get("model"), "model")
        return base_key(model)
    except (NotHere, Missing):
        return None


def check_features(run: StoredRun) -> Finding:
    """Feature tables are unchanged and hold every row they should."""
    differences, absent = [], []
    own = [] if run.own_table is None else [run.own_table]
    tables = [*run.tables, *own]
    for folder in tables:
        if not folder.is_dir():
            absent.append(folder.name)
            continue
        model_key, step = layout.model_and_step(folder)
        where = f"{model_key}/{step}/{folder.name}"
        try:
            manifest = read_manifest(folder)
        except Unreadable as error:
            differences.append(f"{where}: {error}")
            continue
        differences += [f"{where}: {words}" for words in changed_files(folder, manifest)]
        if manifest.get("model") != model_key:
            differences.append(f"{where}: of the model {manifest.get('model')}")
    unavailable = f"not here any more: {few(absent)}" if absent else ""
    return verdict(differences, f"{len(tables)} tables are unchanged", unavailable)
