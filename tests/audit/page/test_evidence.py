"""What the model makes of both ends, at the cost that is said."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import replace

from mia_bench.audit.findings import exposure
from mia_bench.audit.page import evidence
from mia_bench.audit.page.content import page_of
from mia_bench.audit.page.evidence import evidence_evaluations, evidence_panels
from mia_bench.audit.page.files import render
from mia_bench.execution import loading
from mia_bench.execution.loading import scoring_model


def test_evidence_takes_as_many_evaluations_as_are_said(audited, monkeypatch):
    """Counted by the model itself, with fewer steps."""
    counted = []
    monkeypatch.setattr(evidence, "EVIDENCE_STEPS", 2)

    @contextmanager
    def watched(plan, spec):
        with scoring_model(plan, spec) as target:
            yield target
            counted.append(target.queries["forward"])

    monkeypatch.setattr(loading, "scoring_model", watched)
    evidence_panels(audited.prepared.run, audited.scores.table.sample_id.tolist()[:3])
    said = evidence_evaluations(10, audited.prepared.captions)
    assert counted == [said / 2]  # three pictures of six


def test_without_captions_nothing_is_generated(audited, monkeypatch):
    monkeypatch.setattr(evidence, "EVIDENCE_STEPS", 2)
    monkeypatch.setattr(evidence, "EVIDENCE_EACH", 1)
    run = audited.prepared.run
    items = {sid: replace(item, caption="") for sid, item in run.plan.items.items()}
    bare = replace(run, plan=replace(run.plan, items=items))
    (panels,) = evidence_panels(bare, list(items)[:1])
    assert list(panels) == ["original", "degraded", "restored"]


def test_evidence_shows_what_the_model_makes_of_both_ends(audited, audited_folder, monkeypatch):
    monkeypatch.setattr(evidence, "EVIDENCE_STEPS", 2)
    monkeypatch.setattr(evidence, "EVIDENCE_EACH", 1)
    request = replace(audited.prepared.request, evidence=True)
    result = replace(audited, prepared=replace(audited.prepared, request=request))
    shown = page_of(result, audited_folder)
    rows = exposure(audited.scores.table)
    assert [e.name for e in shown.evidence] == [rows.name.iloc[0], rows.name.iloc[-1]]
    panels = [name for name, _ in shown.evidence[0].panels]
    assert panels == ["original", "degraded", "restored", "generated from its caption"]
    assert "What the model makes of them" in render(shown)
