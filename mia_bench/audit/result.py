"""An audit before and after the model is asked, and both in lines of plain words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from mia_bench.audit.experiment import AuditRun, CaptionChoice
from mia_bench.audit.findings import AuditFindings, units
from mia_bench.audit.recognise import AuditedModel
from mia_bench.audit.request import CONTROL_LEVEL, AuditRequest, counted
from mia_bench.audit.scores import COMBINED, PanelScores
from mia_bench.audit.sets import ComparedSets, SetDifference
from mia_bench.audit.share.known_pictures import KnownPictures
from mia_bench.audit.share.used_share import known_decisions, tpr_words
from mia_bench.audit.verdict import Answer, AuditVerdict
from mia_bench.metrics.inference.debiased_rate import Decisions

MAX_NAMED = 5  # pictures that a message names
LEAST_SHARE = 0.01  # of pictures used; a lower bound below it is not worth a number


@dataclass(frozen=True)
class PreparedAudit:
    """Everything that is known before the model is asked."""

    request: AuditRequest
    model: AuditedModel
    sets: ComparedSets
    captions: CaptionChoice
    differences: tuple[SetDifference, ...]
    run: AuditRun
    seal: str | None = None
    seal_words: str = ""
    """Of the variants: the seal's hash, and what to say of it."""
    known: KnownPictures | None = None

    @property
    def labels(self) -> tuple[str, str]:
        """The two sets in words."""
        return self.request.labels

    @property
    def plan_only(self) -> bool:
        """Whether the cost is all that was asked for."""
        return self.run.plan.experiment.options.plan_only


@dataclass(frozen=True)
class AuditResult:
    """What an audit finds."""

    prepared: PreparedAudit
    scores: PanelScores
    findings: AuditFindings
    verdict: AuditVerdict
    reasons: tuple[str, ...]
    blind: Mapping[str, Mapping[str, float]]
    plan_hash: str | None = None

    @property
    def known_decisions(self) -> Decisions | None:
        """Decisions on the pictures that are known to have been used, where there are any."""
        known = self.scores.known_scores
        if known is None:
            return None
        rows = units(self.scores.table)
        return known_decisions(known, rows.loc[~rows.is_first, COMBINED].to_numpy())


def preface(prepared: PreparedAudit) -> Iterator[str]:
    """What is said before the model is asked: sets, captions, model, cost."""
    sets, (first_name, second_name) = prepared.sets, prepared.labels
    first, second = sets.counts
    yield f"Model: {prepared.model.name}. {prepared.model.remark}"
    both = f"{counted(first, first_name)}, {counted(second, second_name)}"
    yield f"Pictures: {both}.{_repeats(sets)}"
    yield from set_remarks(sets, prepared.differences, (first_name, second_name))
    yield f"{prepared.captions.words} {prepared.captions.remark}".strip()
    if prepared.known is not None:
        yield from known_remarks(prepared.known)
    if prepared.seal_words:
        yield prepared.seal_words
    yield from _panel_words(prepared.run)


def _repeats(sets: ComparedSets) -> str:
    total = sum(sets.repeated)
    if not total:
        return ""
    return f" {total} nearly equal another of their own set and count together with it."


def set_remarks(
    sets: ComparedSets, found: Sequence[SetDifference], names: tuple[str, str]
) -> Iterator[str]:
    """What was left out of the sets, and how they differ, with the figures."""
    if sets.overlaps:
        yield f"Left out, since they are in both sets: {_few(sets.overlaps)}."
    if sets.unreadable:
        words = [f"{skip.name} ({skip.reason})" for skip in sets.unreadable]
        yield f"Left out, since they cannot be read: {_few(words)}."
    for d in found:
        if d.p_value <= CONTROL_LEVEL:
            yield (
                f"WARNING: the sets differ in {d.fact}: {names[0]} {d.first}; {names[1]} "
                f"{d.second} (p = {d.p_value:.2g})."
            )


def known_remarks(known: KnownPictures) -> Iterator[str]:
    """How many pictures are known to have been used, and which of them were left out."""
    yield (
        f"Known to have been used: {len(known.items)} pictures, which tell how often a used one "
        "is called so."
    )
    if known.left_out:
        yield f"Left out of those, since they are in a set as well: {_few(known.left_out)}."
    if known.unreadable:
        words = [f"{skip.name} ({skip.reason})" for skip in known.unreadable]
        yield f"Left out of those, since they cannot be read: {_few(words)}."


def _few(words: Sequence[str]) -> str:
    rest = len(words) - MAX_NAMED
    return ", ".join(words[:MAX_NAMED]) + (f" and {rest} more" if rest > 0 else "")


def _panel_words(run: AuditRun) -> Iterator[str]:
    names = ", ".join(run.names)
    yield f"Attacks: {names}; one p-value, from the mean of their ranks."


def summary_lines(result: AuditResult) -> Iterator[str]:
    """The answer first, then its numbers."""
    yield from (f"{result.verdict.sentence}", "")
    yield from number_lines(result)


def number_lines(result: AuditResult) -> Iterator[str]:
    findings, prepared = result.findings, result.prepared
    first, second = findings.groups
    names = prepared.labels
    yield (
        f"p = {findings.p_value:.2g} ({findings.test}; {counted(first, names[0])} against "
        f"{counted(second, names[1])}), false-alarm rate {prepared.request.alpha:g}."
    )
    yield f"AUC {_interval(findings.auroc, findings.lo, findings.hi)} of the combined score."
    if findings.smallest_leak is not None:
        yield f"These sets show an AUC of {findings.smallest_leak:.2f} or more with 80 %."
    if findings.used is not None and (called := called_words(result)) is not None:
        yield f"{called}."
    if (share := share_words(result)) is not None:
        yield f"{share[:1].upper()}{share[1:]}."
    for attack in findings.attacks:
        set_p = "" if attack.set_p is None else f", set test p = {attack.set_p_adjusted:.2g}"
        how = ", cross-fitted" if attack.fitted else ""
        area = _interval(attack.auroc, attack.lo, attack.hi)
        yield f"  {attack.name:<14} AUC {area}  p = {attack.p_adjusted:.2g}{set_p}{how}"
    if findings.attacks:
        cited = any(attack.set_p is not None for attack in findings.attacks)
        set_test = "; set test: CDI, arXiv 2411.12858" if cited else ""
        yield f"  (p adjusted over the panel, Holm{set_test})"
    for control in findings.controls:
        mark = "  FLAGGED" if control.flagged else ""
        figures = f"AUC {control.auroc:.3f}  p = {control.p_value:.2g}"
        yield f"  control {control.name:<13} {figures}{mark}"


def called_words(result: AuditResult) -> str | None:
    """How many pictures rank above most of the others; None for variants."""
    findings, names = result.findings, result.prepared.labels
    if findings.called_fpr is None:
        return None
    some = f"all but {findings.called_fpr:.0%}" if findings.called_fpr > 0 else "every one"
    who = f"{findings.called} of {findings.called_of} {names[0]}"
    return f"{who} rank above {some} of the {names[1]}"


def share_words(result: AuditResult) -> str | None:
    """How much of a data owner's set was used, where the answer is that some of it was."""
    used, named = result.findings.used, result.prepared.labels[0]
    asked = result.prepared.request.kind == "data" and result.verdict.answer is Answer.YES
    if used is None or not asked:
        return None
    how = tpr_words(used, result.known_decisions)
    if used.is_bound and used.lo < LEAST_SHARE:
        amount = (
            f"of how many of the {named} were used, the 95 % lower bound is below "
            f"{LEAST_SHARE:.0%} (estimate of the least share {used.value:.0%})"
        )
    elif used.is_bound:
        amount = (
            f"at least {used.lo:.0%} of the {named} were used (95 % confidence; estimate of the "
            f"least share {used.value:.0%})"
        )
    else:
        amount = f"{used.value:.0%} [{used.lo:.0%}, {used.hi:.0%}] of the {named} were used"
    return f"{amount}; {how}"


def _interval(value: float, lo: float | None, hi: float | None) -> str:
    return f"{value:.3f}" if lo is None or hi is None else f"{value:.3f} [{lo:.2f}, {hi:.2f}]"
