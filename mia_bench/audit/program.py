"""The way of an audit: read the sets, say what it costs, ask the model, judge, store, print."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from mia_bench.audit.experiment import (
    carry_out,
    choose_captions,
    cost_lines,
    folders_of,
    prepare_run,
)
from mia_bench.audit.findings import find, judge
from mia_bench.audit.page.evidence import evidence_evaluations
from mia_bench.audit.page.files import write_page
from mia_bench.audit.preregistration import check_plan, register
from mia_bench.audit.recognise import recognise
from mia_bench.audit.record import store
from mia_bench.audit.request import AuditRequest
from mia_bench.audit.result import MAX_NAMED, AuditResult, PreparedAudit, preface, summary_lines
from mia_bench.audit.scores import panel_scores, refitted_p
from mia_bench.audit.sets import ComparedSets, compare_sets, differences, readable
from mia_bench.audit.share.known_pictures import read_known
from mia_bench.audit.variants import check_seal, families, find_ranks
from mia_bench.data.folders import MEMBER, Folders
from mia_bench.data.source import Listing
from mia_bench.evaluation.score_run import blind_controls
from mia_bench.utils.errors import MiaError
from mia_bench.utils.terminal import echo


def prepare_audit(request: AuditRequest) -> PreparedAudit:
    """Read the model's files and both sets, and plan. Nothing is asked.

    Raises:
        MiaError: what is missing or wrong, and the way out.
    """
    model = recognise(request.model, request.base)
    source = Folders(str(request.first), str(request.second))
    listing = source.items()
    _require_pictures(listing, request)
    # what is left out, because it cannot be read, does not decide what the others are asked with
    told = [item.caption for item in readable(listing).items]
    captions = choose_captions(request.captions, told)
    said = Folders(str(request.first), str(request.second), captions.source, captions.text)
    sets = compare_sets(said.items(), folders_of(request), request.variants)
    seal, seal_words = None, ""
    if request.variants:
        seal, seal_words = check_seal(request.second, request.first)
        listed = sets.listing.items
        families([i.name for i in listed], [MEMBER in i.pool.split("+") for i in listed])
    _require_both(sets, request)
    known = None
    if request.known is not None:
        known = read_known(request.known, sets, captions.source, captions.text)
    run = prepare_run(request, model, sets, captions, known)
    found = tuple(differences(sets, request.seed))
    return PreparedAudit(request, model, sets, captions, found, run, seal, seal_words, known)


def ask(prepared: PreparedAudit, plan_hash: str | None = None) -> AuditResult:
    """Ask the model, and judge. `plan_hash`: of the plan that is carried out."""
    request = prepared.request
    carry_out(prepared.run)
    scores = panel_scores(prepared.run, prepared.sets)
    controls = blind_controls(prepared.run.plan)
    if request.variants:
        findings, table = find_ranks(scores.table, scores.attacks, request.alpha)
        scores = replace(scores, table=table)
    else:
        p_value = refitted_p(prepared.run, request.seed) if scores.fitted else None
        options = (request.alpha, request.seed, p_value)
        findings = find(
            *(scores.table, scores.attacks, scores.fitted, controls, *options),
            known=scores.known_scores,
        )
    judged = (prepared.differences, prepared.labels, request.alpha, request.variants)
    verdict, why = judge(request.kind, findings, *judged)
    return AuditResult(prepared, scores, findings, verdict, tuple(why), controls, plan_hash)


def _require_pictures(listing: Listing, request: AuditRequest) -> None:
    """Raises MiaError where a folder holds no picture."""
    for pool_is_first, name, folder in (
        (True, request.first_name, request.first),
        (False, request.second_name, request.second),
    ):
        there = [
            i
            for i in listing.items
            if (MEMBER in i.pool.split("+")) == pool_is_first or "+" in i.pool
        ]
        if not there:
            raise MiaError(f"{name}={folder} holds no picture that can be read.{_skipped(listing)}")


def _skipped(listing: Listing) -> str:
    if not listing.skipped:
        return ""
    first = listing.skipped[0]
    return (
        f" {len(listing.skipped)} files were passed over, the first: {first.name}, {first.reason}."
    )


def _require_both(sets: ComparedSets, request: AuditRequest) -> None:
    first, second = sets.counts
    for count, name in ((first, request.first_name), (second, request.second_name)):
        if not count:
            named = ", ".join(sets.overlaps[:MAX_NAMED])
            raise MiaError(
                f"no picture of {name}= is left once those that are in both sets are left out "
                f"({named}): give two sets that share none."
            )


def run_audit(request: AuditRequest) -> AuditResult | None:
    """The whole audit, with all it prints; with plan_only=true what it costs, and nothing else."""
    prepared = prepare_audit(request)
    plan_hash = None if request.plan is None else check_plan(prepared, request.plan)
    _say_before(prepared)
    if prepared.plan_only:
        return None
    result = ask(prepared, plan_hash)
    folder = store(result)
    echo()
    for line in summary_lines(result):  # before the page, which a full disk may keep from being
        echo(line)
    page = write_page(result, folder)
    echo(f"page: {page}")
    echo(f"record: {folder}")
    return result


def _say_before(prepared: PreparedAudit) -> None:
    """What will be done, and what it costs."""
    evidence = 0
    if prepared.request.evidence:
        evidence = evidence_evaluations(prepared.sets.counts[0], prepared.captions)
    for line in (*preface(prepared), *cost_lines(prepared.run, evidence)):
        echo(line)


def register_audit(request: AuditRequest) -> Path:
    """Write the plan of an audit, and say what it would cost. Nothing is asked.

    Raises:
        MiaError: no file is named, one is there, or plan_only=true, which writes nothing.
    """
    if request.plan is None:
        raise MiaError("audit plan needs plan=FILE, where the plan is written.")
    prepared = prepare_audit(request)
    if prepared.plan_only:
        raise MiaError(
            "plan_only=true writes nothing, and audit plan asks nothing but writes the plan: leave "
            "it out."
        )
    _say_before(prepared)
    hash_of_plan = register(prepared, request.plan)
    echo(f"plan: {request.plan}")
    echo(f"hash: {hash_of_plan}. Deposit it with somebody else before the audit.")
    return request.plan
