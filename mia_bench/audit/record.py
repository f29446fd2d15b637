"""What an audit leaves on disk: audit.json and scores.parquet in a sealed folder, and its check.

The record is made of the scores: whatever is said follows from them by `findings`, and `verify`
computes it again.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from mia_bench.attacks import Floats
from mia_bench.audit.findings import AuditFindings, find, judge
from mia_bench.audit.result import AuditResult, PreparedAudit
from mia_bench.audit.scores import group_scores
from mia_bench.audit.sets import SetDifference
from mia_bench.audit.share.known_pictures import KnownPictures
from mia_bench.audit.variants import find_ranks
from mia_bench.evaluation.json_differences import json_differences
from mia_bench.planning.keys import base_key
from mia_bench.storage import layout
from mia_bench.storage.artifacts import get_or_build
from mia_bench.storage.files import write_json
from mia_bench.storage.hashing import hash_key
from mia_bench.storage.stored_files import changed_files, read_frame, read_manifest, read_object
from mia_bench.utils.errors import MiaError

VERSION = 2
UNBOUNDED_VERSION = 1
"""Whose intervals of AUC were DeLong's alone, which reached from near 0 to 1 for few rows."""
PLAN_HASH = "hash"
PLANNED = (
    *("kind", "variants", "model", "base", "split", "known", "captions", "attacks", "alpha"),
    "seed",
)


def identity(prepared: PreparedAudit) -> dict[str, Any]:
    """Everything that decides an audit's answer, as plain JSON; its hash names the folder."""
    request, plan = prepared.request, prepared.run.plan
    attack: Mapping[str, Any] = plan.experiment.resolved["attack"]
    base, known = prepared.run.base, prepared.run.known
    return {
        "version": VERSION,
        "kind": request.kind,
        "variants": request.variants,
        "model": base_key(plan.experiment.model),
        "base": None if base is None else base_key(base.experiment.model),
        "split": plan.split.content_hash,
        **({"known": known[0].split.content_hash} if known else {}),
        "captions": prepared.captions.words,
        "attacks": {
            name: {**attack[name], "version": plan.experiment.attacks[name].version}
            for name in prepared.run.names
        },
        "alpha": request.alpha,
        "seed": request.seed,
        "features": sorted(
            spec.folder.relative_to(plan.outputs).as_posix()
            for some in prepared.run.plans
            for run in some.runs
            for spec in [run.evaluation]
        ),
    }


def audit_folder(prepared: PreparedAudit, plan_hash: str | None) -> Path:
    """outputs/audits/<kind>-<key>; one that carries out a plan is another than one without."""
    decided = [identity(prepared), *([plan_hash] if plan_hash else [])]
    name = layout.join_name(prepared.request.kind, hash_key(decided))
    return prepared.request.outputs / layout.AUDITS_FOLDER / name


def store(result: AuditResult) -> Path:
    """Write the record, sealed; its folder. A finished one is checked and kept."""
    folder = audit_folder(result.prepared, result.plan_hash)
    get_or_build(folder, partial(_write, result))
    return folder


def _write(result: AuditResult, folder: Path) -> dict[str, Any]:
    prepared = result.prepared
    sets = prepared.sets
    if result.plan_hash is not None and prepared.request.plan is not None:
        shutil.copyfile(prepared.request.plan, folder / layout.PLAN_FILE)
    result.scores.table.to_parquet(folder / layout.SCORES_FILE, index=False)
    if result.scores.known is not None:
        result.scores.known.to_parquet(folder / layout.KNOWN_FILE, index=False)
    write_json(
        folder / layout.AUDIT_FILE,
        {
            **identity(prepared),
            "plan": result.plan_hash,
            "seal": prepared.seal,
            "model_name": prepared.model.name,
            "model_remark": prepared.model.remark,
            "sets": {
                "names": list(prepared.labels),
                "pictures": list(sets.counts),
                "groups": list(sets.groups),
                "overlaps": list(sets.overlaps),
                "unreadable": [[skip.name, skip.reason] for skip in sets.unreadable],
                "differences": [asdict(difference) for difference in prepared.differences],
            },
            "fitted": list(result.scores.fitted),
            "subtracted": list(result.scores.subtracted),
            "blind": {name: dict(entry) for name, entry in result.blind.items()},
            "findings": plain(asdict(result.findings)),
            "verdict": {"answer": str(result.verdict.answer), "sentence": result.verdict.sentence},
            "reasons": list(result.reasons),
            **_known_facts(prepared.known),
        },
    )
    return {"audit": prepared.request.kind, "split": prepared.run.plan.split.content_hash}


def _known_facts(known: KnownPictures | None) -> dict[str, Any]:
    """Of the pictures that are known to have been used; nothing where there are none."""
    if known is None:
        return {}
    left_out = list(known.left_out)
    unreadable = [[skip.name, skip.reason] for skip in known.unreadable]
    counts = {"pictures": len(known.items), "groups": known.groups}
    return {"known_pictures": {**counts, "left_out": left_out, "unreadable": unreadable}}


def plain(value: Any) -> Any:
    """Tuples as lists, as JSON reads them again."""
    if isinstance(value, dict):
        return {name: plain(entry) for name, entry in value.items()}
    return [plain(entry) for entry in value] if isinstance(value, list | tuple) else value


def check_audit(folder: Path) -> Iterator[tuple[str, bool, str]]:
    """(name, agrees, message) of every check of a stored audit. Raises Unreadable."""
    manifest = read_manifest(folder)
    changed = changed_files(folder, manifest)
    yield "files", not changed, "; ".join(changed) or "have the hashes of the manifest"
    stored = read_object(folder / layout.AUDIT_FILE)
    table = read_frame(folder / layout.SCORES_FILE)
    try:
        names = tuple(stored["sets"]["names"])
        alpha, variants = stored["alpha"], stored["variants"]
        attacks = list(stored["attacks"])
        refitted = stored["findings"]["p_value"] if stored["fitted"] else None
        found = [SetDifference(**entry) for entry in stored["sets"]["differences"]]
        known = None
        if "known" in stored:
            known = group_scores(read_frame(folder / layout.KNOWN_FILE))
        findings = find_again(table, attacks, stored, refitted, known)
        verdict, _ = judge(stored["kind"], findings, found, names, alpha, variants)
    except (KeyError, TypeError, ValueError) as error:
        raise MiaError(
            f"{layout.AUDIT_FILE} is not as this version writes it: {error!r}"
        ) from error
    then, now = stored["findings"], plain(asdict(findings))
    if stored["version"] == UNBOUNDED_VERSION:
        then, now = _without_bounds(then), _without_bounds(now)
    differences = json_differences(then, now)
    message = "; ".join(differences[:3]) or "follow from the stored scores"
    yield "numbers", not differences, message
    same = verdict.sentence == stored["verdict"]["sentence"]
    yield "verdict", same, verdict.sentence if same else f"the numbers say: {verdict.sentence}"
    yield _plan_check(folder, stored)


def read_plan(path: Path) -> dict[str, Any]:
    """A plan whose content gives its hash. Raises MiaError."""
    if not path.is_file():
        raise MiaError(f"plan={path} is no file: mia-bench audit plan ... plan={path} writes it.")
    plan = read_object(path)
    content = {name: value for name, value in plan.items() if name != PLAN_HASH}
    if hash_key(content) != plan.get(PLAN_HASH):
        stated = plan.get(PLAN_HASH)
        raise MiaError(f"{path} was edited: its content does not give its hash {stated}.")
    return plan


def _without_bounds(findings: Mapping[str, Any]) -> dict[str, Any]:
    """Findings without the intervals of AUC: of the combined score and of each attack."""

    def without(entry: Mapping[str, Any]) -> dict[str, Any]:
        return {name: value for name, value in entry.items() if name not in ("lo", "hi")}

    return {**without(findings), "attacks": [without(entry) for entry in findings["attacks"]]}


def _plan_check(folder: Path, stored: Mapping[str, Any]) -> tuple[str, bool, str]:
    """Whether the stored audit is what its registered plan says."""
    if stored["plan"] is None:
        return "plan", True, "not registered beforehand"
    plan = read_plan(folder / layout.PLAN_FILE)
    if plan[PLAN_HASH] != stored["plan"]:
        return (
            "plan",
            False,
            f"has the hash {plan[PLAN_HASH]}, and the audit names {stored['plan']}",
        )
    differing = [name for name in PLANNED if plan.get(name) != stored.get(name)]
    message = ", ".join(differing) + " differ from the plan" if differing else ""
    return "plan", not differing, message or f"{stored['plan']} is what was carried out"


def find_again(
    table: pd.DataFrame,
    attacks: list[str],
    stored: Mapping[str, Any],
    refitted: float | None,
    known: Floats | None = None,
) -> AuditFindings:
    """The findings that the stored scores give."""
    if stored["variants"]:
        return find_ranks(table, attacks, stored["alpha"])[0]
    return find(
        *(table, attacks, stored["fitted"], stored["blind"], stored["alpha"], stored["seed"]),
        refitted_p=refitted,
        known=known,
    )
