"""What the page of an audit shows, gathered from its result."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from markupsafe import Markup

from mia_bench.audit.page.chart import score_chart
from mia_bench.audit.page.evidence import ShownEvidence, evidence_evaluations, shown_evidence
from mia_bench.audit.page.pictures import ShownPicture, shown_pictures
from mia_bench.audit.result import (
    AuditResult,
    called_words,
    known_remarks,
    number_lines,
    set_remarks,
    share_words,
)
from mia_bench.audit.verdict import Answer
from mia_bench.config.arguments import OUTPUTS
from mia_bench.storage import layout
from mia_bench.storage.files import read_json

COLOURS = {Answer.YES: "bad", Answer.NO_EVIDENCE: "good", Answer.CANNOT_SAY: "warn"}


@dataclass(frozen=True)
class AuditPage:
    """Everything the template shows."""

    result: AuditResult
    folder: Path
    manifest: Mapping[str, Any]
    chart: Markup
    most: list[ShownPicture]
    least: list[ShownPicture]
    numbers: list[str]
    remarks: list[str]
    evidence: list[ShownEvidence]

    @property
    def command(self) -> str:
        return shlex.join(str(word) for word in self.manifest.get("command") or ["unknown"])

    @property
    def verify_command(self) -> str:
        """What computes every number again, also where `paths.outputs` was not the default."""
        outputs = self.folder.parent.parent
        place = [] if str(outputs) == OUTPUTS.default else [f"{OUTPUTS.key}={outputs}"]
        return shlex.join(["mia-bench", "verify", self.folder.name, *place])

    @property
    def called(self) -> str | None:
        return called_words(self.result)

    @property
    def share(self) -> str | None:
        return share_words(self.result)

    @property
    def evidence_cost(self) -> int:
        """U-Net evaluations that evidence=true would have taken."""
        prepared = self.result.prepared
        return evidence_evaluations(prepared.sets.counts[0], prepared.captions)

    @property
    def colour(self) -> str:
        return COLOURS[self.result.verdict.answer]


def page_of(result: AuditResult, folder: Path) -> AuditPage:
    prepared = result.prepared
    most, least = shown_pictures(result)
    remarks = [
        *set_remarks(prepared.sets, prepared.differences, prepared.labels),
        prepared.captions.words,
        *(known_remarks(prepared.known) if prepared.known is not None else ()),
        prepared.model.remark,
        *([prepared.seal_words] if prepared.seal_words else []),
    ]
    return AuditPage(
        result,
        folder,
        read_json(folder / layout.MANIFEST_FILE),
        score_chart(result.scores.table, prepared.labels),
        *(most, least, list(number_lines(result)), remarks, shown_evidence(result)),
    )
