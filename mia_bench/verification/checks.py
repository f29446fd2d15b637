"""Whether a finished run is what it says: one `Check` per question, in words.

Everything is recomputed from what is stored, at zero U-Net evaluations: scores from feature tables,
metrics from scores, keys from the configuration. What is not on this machine is not checked, and
said to be.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from mia_bench.data.split.roles import Role
from mia_bench.evaluation.labelled_features import MEMBER_ROLES
from mia_bench.metrics.group_folds import calibrating
from mia_bench.planning.keys import METRICS_VERSION, base_key, model_key
from mia_bench.planning.specs import EVALUATION_ROLES, SHADOW_ROLES
from mia_bench.storage.artifacts import MANIFEST
from mia_bench.storage.files import read_json
from mia_bench.utils.errors import MiaError, Missing
from mia_bench.verification.recompute import check_controls, check_metrics, check_roc, check_scores
from mia_bench.verification.result import (
    DIFFERS,
    NOTE,
    OK,
    UNCHECKED,
    Check,
    Finding,
    changed,
    few,
    verdict,
)
from mia_bench.verification.stored_run import NotHere, StoredRun, own

FILES = ("config.yaml", "metrics.json", "scores.parquet", "roc.parquet")


def checks(run: StoredRun) -> Iterator[Check]:
    """Every check of a finished run; one that cannot be carried out says why."""
    questions: dict[str, Callable[[StoredRun], Finding]] = {
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
    }
    for name, ask in questions.items():
        try:
            state, said = ask(run)
        except NotHere as absent:
            state, said = UNCHECKED, str(absent)
        except MiaError as error:
            state, said = DIFFERS, str(error)
        except Exception as error:  # whatever a damaged or foreign file does to its reader
            state, said = (
                DIFFERS,
                f"not as this version writes runs: {type(error).__name__}: {error}",
            )
        yield Check(name, state, " ".join(said.split()))


def check_files(run: StoredRun) -> Finding:
    """Hashes of the files beside the manifest, and of the evidence below."""
    listed = run.says("files")
    unlisted = [name for name in FILES if name not in listed]
    if unlisted:
        return DIFFERS, f"the manifest lists no {', '.join(unlisted)}: it is of another version"
    found = changed(run.folder, listed)
    evidence = run.folder / "evidence"
    if (evidence / MANIFEST).is_file():
        deeper = changed(evidence, read_json(evidence / MANIFEST)["files"])
        found += [f"evidence/{words}" for words in deeper]
    return verdict(found, f"{len(listed)} files have the hashes of the manifest")


def check_versions(run: StoredRun) -> Finding:
    other = run.other_versions
    return (NOTE, f"made with {'; '.join(other)}") if other else (OK, "the same packages as here")


def check_key(run: StoredRun) -> Finding:
    """Configuration and feature tables give the key that the folder is named after."""
    stored, version = run.folder.name.rpartition("-")[2], run.metrics_version
    if version is None:
        return DIFFERS, (
            f"configuration and tables give the key {run.key()}, not {stored}: config.yaml was "
            "edited, or the run is of another version"
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
    scores, options = run.scores, run.options
    half = not run.shadowed
    row = {r.sample_id: r for r in run.split.table}
    found = []
    for calibration, roles in (
        (False, EVALUATION_ROLES),
        (True, EVALUATION_ROLES if half else SHADOW_ROLES),
    ):
        wanted = list(run.rows(*roles))
        if half:
            groups = np.array([row[sid].group for sid in wanted])
            side = calibrating(groups, options.data.split_seed)
            wanted = [sid for sid, s in zip(wanted, side, strict=True) if s == calibration]
        there = scores[scores.calibration == calibration]
        kind = "calibration" if calibration else "evaluation"
        ids = there.sample_id.tolist()
        if len(set(ids)) != len(ids):
            found.append(f"{kind} rows occur twice")
        for what, which in (("lack", set(wanted) - set(ids)), ("add", set(ids) - set(wanted))):
            if which:
                found.append(f"{kind} rows {what} {len(which)}: {few(sorted(which))}")
        for r in there.itertuples():
            known = row.get(str(r.sample_id))
            if known is None:
                continue
            is_member = known.role in MEMBER_ROLES
            if (r.group, r.role, bool(r.is_member)) != (known.group, str(known.role), is_member):
                found.append(f"{r.sample_id} is {r.role} in {r.group}, in the split {known.role}")
    return verdict(found, f"{len(scores):,} sample ids, groups and roles are the split's")


def check_models(run: StoredRun) -> Finding:
    """Weights of target and shadow are unchanged, of this split, and of this configuration."""
    found, absent, seen = [], [], []
    base_key = _base_key(run)
    for kind in ("target", "shadow"):
        key = run.says("models", kind)
        if key is None:
            continue
        if key == base_key:
            seen.append(f"{kind} is the base {key}")
            continue
        folder = run.outputs / "targets" / str(key)
        if not (folder / MANIFEST).is_file():
            absent.append(f"{kind} {key}")
            continue
        manifest = read_json(folder / MANIFEST)
        found += [f"{kind}: {words}" for words in changed(folder, manifest.get("files", {}))]
        if manifest.get("split") != run.says("split"):
            found.append(f"{kind} was trained on the split {manifest.get('split')}")
        found += _other_key(run, kind, str(key), str(manifest.get("base")))
        if base_key is not None and manifest.get("base") != base_key:
            found.append(f"{kind} was trained from the base {manifest.get('base')}, not {base_key}")
        seen.append(f"{kind} {key}")
    gone = f"{', '.join(absent)} not here any more" if absent else ""
    return verdict(found, f"{', '.join(seen)}: files, split and recipe", gone)


def _other_key(run: StoredRun, kind: str, key: str, base: str) -> list[str]:
    try:
        setup = run.setup(kind)
    except NotHere:
        return []
    role = Role.TARGET_MEMBER if kind == "target" else Role.SHADOW_MEMBER
    recipe = model_key(base, run.split, role, setup, run.options.trainer.precision)
    return [] if recipe == key else [f"the configuration gives the {kind} {recipe}, not {key}"]


def _base_key(run: StoredRun) -> str | None:
    """The key of the untouched base, where its weights are here."""
    try:
        model = own(run.config.get("model"), "model")
        return base_key(model)
    except (NotHere, Missing):
        return None


def check_features(run: StoredRun) -> Finding:
    """Feature tables are unchanged and hold every row they should."""
    found, absent = [], []
    tables = run.tables
    for folder in tables:
        if not folder.is_dir():
            absent.append(folder.name)
            continue
        manifest = read_json(folder / MANIFEST)
        where = f"{folder.parents[1].name}/{folder.parent.name}/{folder.name}"
        found += [f"{where}: {words}" for words in changed(folder, manifest.get("files", {}))]
        if manifest.get("model") != folder.parents[1].name:
            found.append(f"{where}: of the model {manifest.get('model')}")
    gone = f"not here any more: {few(absent)}" if absent else ""
    return verdict(found, f"{len(tables)} tables are unchanged", gone)
