"""What lies beside a stored run and is shown with it: pictures, and the utility of its models.

Nothing of it follows from the scores: to make it again takes the model. It is held to what was
written down of it, the hashes of its own manifest, and to the run that it is said to be of.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mia_bench.storage import layout
from mia_bench.storage.index import utility_folders
from mia_bench.storage.stored_files import (
    Unreadable,
    changed_files,
    leads_out,
    read_evidence_rows,
    read_manifest,
    read_object,
)
from mia_bench.verification.result import OK, Finding, few, verdict
from mia_bench.verification.stored_run import StoredRun
from mia_bench.verification.untrusted import inside

SCORE_ROUNDING = 1e-9  # of a score in an index, which is written with all its digits


def check_pictures(run: StoredRun) -> Finding:
    """The evidence below the run, and the pictures that its target generated."""
    differences, seen, absent = [], [], []
    evidence = run.folder / layout.EVIDENCE_FOLDER
    if leads_out(evidence, run.folder):
        differences.append(f"{layout.EVIDENCE_FOLDER} is a link that leads out of the folder")
    elif evidence.is_dir():
        differences += [f"{layout.EVIDENCE_FOLDER}/{words}" for words in _evidence(run, evidence)]
        seen.append(layout.EVIDENCE_FOLDER)
    if run.own_table is not None:
        folder = inside(run.outputs, run.outputs / str(run.entry("own_outputs", "pictures")))
        if folder.is_dir():
            differences += [f"{folder.name}/{words}" for words in _generated(run, folder)]
            seen.append(f"what the target generated in {folder.name}")
        else:
            absent.append(folder.name)
    if not (differences or seen or absent):
        return OK, "none were made"
    unavailable = f"generated pictures not here any more: {few(absent)}" if absent else ""
    return verdict(differences, f"{' and '.join(seen)}: as their manifests say", unavailable)


def _evidence(run: StoredRun, folder: Path) -> Iterator[str]:
    """Where evidence is not what its manifest says, or its scores and labels are not the run's."""
    yield from changed_files(folder, read_manifest(folder))
    if not (folder / layout.EVIDENCE_INDEX_FILE).is_file():
        return  # of an early version
    table = run.scores[~run.scores.calibration]
    columns = (table[name].tolist() for name in ("sample_id", "score", "is_member"))
    known = {sid: (float(score), bool(label)) for sid, score, label in zip(*columns, strict=True)}
    for row in read_evidence_rows(folder):
        if row.sample_id not in known:
            yield f"{layout.EVIDENCE_INDEX_FILE}: {row.sample_id} is no evaluation row"
            continue
        score, is_member = known[row.sample_id]
        spread = max(1.0, abs(score))
        if row.score is not None and abs(row.score - score) > SCORE_ROUNDING * spread:
            yield (
                f"{layout.EVIDENCE_INDEX_FILE}: {row.sample_id} has the score {row.score:.6g}, in "
                f"{layout.SCORES_FILE} {score:.6g}"
            )
        if row.is_member is not None and row.is_member != is_member:
            yield f"{layout.EVIDENCE_INDEX_FILE}: {row.sample_id} has another label"


def _generated(run: StoredRun, folder: Path) -> Iterator[str]:
    """Where generated pictures are not what their manifest says, or not the run's."""
    manifest = read_manifest(folder)
    yield from changed_files(folder, manifest)
    if manifest.get("model") != run.entry("models", "target"):
        yield f"of the model {manifest.get('model')}"
    rows: list[Any] = manifest.get("rows") or []
    made = {(row.get("sample_id"), row.get("source_id")) for row in rows if isinstance(row, dict)}
    own = run.own_scores
    scored = set(zip(own.sample_id, own.source_id, strict=True))
    if strangers := sorted(str(sample_id) for sample_id, _ in scored - made):
        yield f"{len(strangers)} scored pictures are not listed: {few(strangers)}"


def check_utility(run: StoredRun) -> Finding:
    """What was measured of the run's target, at the step that is attacked, and of its base."""
    folders = [(key, folder) for key, step in _models(run) for folder in _measured(run, key, step)]
    if not folders:
        return OK, "none was measured"
    differences = [words for key, folder in folders for words in _utility(key, folder)]
    words = f"{len(folders)} as their manifests say; to compute the figures again takes the model"
    return verdict(differences, words)


def _models(run: StoredRun) -> Iterator[tuple[str, str]]:
    """Keys of the target and, where its manifest is here, of its base, and their steps."""
    key = str(run.entry("models", "target"))
    yield key, run.ref.step
    try:
        base = read_manifest(inside(run.outputs, layout.model_folder(run.outputs, key))).get("base")
    except Unreadable:  # the check of the models says so
        return
    if base:
        yield str(base), layout.BASE_STEP


def _measured(run: StoredRun, key: str, step: str) -> list[Path]:
    return [inside(run.outputs, path) for path in utility_folders(run.outputs, key, step)]


def _utility(key: str, folder: Path) -> Iterator[str]:
    """Where the utility in `folder` is not what its manifest says, or of another model."""
    where = f"{layout.UTILITY_FOLDER}/{key}/{folder.parent.name}/{folder.name}"
    try:
        manifest = read_manifest(folder)
        figures = read_object(folder / layout.UTILITY_FILE)
    except Unreadable as error:
        yield f"{where}: {error}"
        return
    yield from (f"{where}: {words}" for words in changed_files(folder, manifest))
    if figures.get("model") != key:
        yield f"{where}: of the model {figures.get('model')}"
