"""The answer: one of three values, in one sentence that states its rate of false alarms."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from mia_bench.audit.request import Kind


class Answer(StrEnum):
    YES = "yes"
    NO_EVIDENCE = "no evidence"
    CANNOT_SAY = "cannot say"


@dataclass(frozen=True)
class AuditVerdict:
    """`sentence` is the whole answer for somebody who reads nothing else."""

    answer: Answer
    sentence: str


def decide(
    kind: Kind, p_value: float, alpha: float, smallest_leak: float | None, reasons: Sequence[str]
) -> AuditVerdict:
    """The rule, fixed before any model is asked.

    Cannot say where there is a reason; yes where p is at most alpha; else no evidence.

    Args:
        reasons: why these sets cannot answer, whatever the model does with them.
        smallest_leak: AUROC that they would have shown with 80 %.
    """
    if reasons:
        return AuditVerdict(Answer.CANNOT_SAY, f"Cannot say, because {_listed(reasons)}.")
    if p_value <= alpha:
        return AuditVerdict(Answer.YES, YES[kind].format(alpha=_percent(alpha), p=_p(p_value)))
    leak = "" if smallest_leak is None else SEEN.format(pairs=round(100 * smallest_leak))
    return AuditVerdict(Answer.NO_EVIDENCE, NO[kind].format(p=_p(p_value)) + leak)


YES: dict[str, str] = {
    "owner": "Yes: this model gives away which pictures it was trained on ({p}; a model that does "
    "not would be called so in at most {alpha} of audits).",
    "data": "Yes: pictures of yours were used to train this model ({p}; if none was, this would be "
    "said in at most {alpha} of audits).",
}
NO: dict[str, str] = {
    "owner": "No evidence that this model gives away its training pictures ({p}).",
    "data": "No evidence that your pictures were used to train this model ({p}).",
}
SEEN = (
    " A leak by which a used picture ranks above an unused one in {pairs} of 100 pairs or more "
    "would have been seen with a probability of 80 %; a smaller one may be there."
)


def _listed(reasons: Sequence[str]) -> str:
    return "; and because ".join(reasons)


def _percent(rate: float) -> str:
    return f"{100 * rate:g} %"


def _p(value: float) -> str:
    return f"p = {value:.2g}" if value >= 1e-4 else f"p = {value:.1e}"
