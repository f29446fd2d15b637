"""One file without a network or a script, hostile names stay text, a PDF without empty pages."""

from __future__ import annotations

import csv
import io
from dataclasses import replace

import numpy as np
import pytest
from html_tags import tags

from mia_bench.audit.findings import exposure
from mia_bench.audit.page.content import page_of
from mia_bench.audit.page.files import as_csv, render, write_pdf

HOSTILE = '"><script>alert(1)</script><img src=x onerror=alert(2)>{{ 7*7 }}'


@pytest.fixture(scope="module")
def shown(audited, audited_folder):
    return page_of(audited, audited_folder)


@pytest.fixture(scope="module")
def hostile(shown):
    """The page where every name and caption wants to be a script."""
    most = [replace(p, name=HOSTILE, caption=HOSTILE, neighbour_name=HOSTILE) for p in shown.most]
    model = replace(shown.result.prepared.model, name=HOSTILE, remark=HOSTILE)
    prepared = replace(shown.result.prepared, model=model)
    result = replace(shown.result, prepared=prepared)
    return replace(shown, result=result, most=most, remarks=[HOSTILE])


def test_the_sentence_comes_first(shown):
    page = render(shown)
    verdict = shown.result.verdict.sentence
    assert page.index(verdict[:40]) < page.index("Numbers")
    for words in ("2409.19798", "2601.12937", "What it cannot prove", "Exact command", "seal"):
        assert words in page


def test_it_asks_no_network_and_runs_nothing(hostile):
    page = render(hostile)
    found = tags(page)
    assert "script" not in {tag for tag, _ in found}
    assert not any(name.startswith("on") for _, attributes in found for name in attributes)
    for _, attributes in found:
        for name in ("src", "href", "action", "data", "srcset"):
            assert (attributes.get(name) or "data:").startswith(("#", "data:"))
    policy = next(a["content"] for _, a in found if a.get("http-equiv"))
    assert policy.startswith("default-src 'none'")
    assert "script-src" not in policy
    assert "{{ 7*7 }}" in page
    assert page.count("&lt;script&gt;alert(1)") > 5


def test_the_csv_has_every_picture_and_no_formula(audited):
    rows = exposure(audited.scores.table)
    rows.loc[0, "name"] = "=cmd|' /C calc'!A0"
    read = list(csv.DictReader(io.StringIO(as_csv(rows))))
    assert len(read) == 10
    assert read[0]["name"].startswith("'=")
    assert {"sima", "loss", "combined", "percentile", "p_value"} <= read[0].keys()


@pytest.mark.long
def test_the_pdf_has_two_full_pages(hostile, tmp_path):
    """Drawn page by page: none is empty, nothing reaches into the margins, all text is there."""
    pytest.importorskip("weasyprint", reason="the extra pdf is not installed")
    pypdfium2 = pytest.importorskip("pypdfium2")
    other = [replace(p, name="写真 αβγ صورة.png", caption="x" * 400) for p in hostile.most]
    path = write_pdf(replace(hostile, most=other * 4, least=other), tmp_path / "audit.pdf")
    pdf = pypdfium2.PdfDocument(path)
    assert len(pdf) == 2
    for page in pdf:
        ink = np.asarray(page.render(scale=1).to_pil().convert("L")) < 160
        assert ink.mean() > 0.01  # not empty
        edge = 14  # points, a third of the margin
        inside = ink[edge:-edge, edge:-edge]
        assert ink.sum() == inside.sum()  # not clipped
    text = "".join(page.get_textpage().get_text_range() for page in pdf)
    for words in ("What it cannot prove", "Exact command", "page 2 of 2"):
        assert words in text


def test_names_and_thumbnails_need_no_evidence_and_its_cost_is_said(shown):
    page = render(shown)
    assert shown.evidence == []
    assert all(p.name in page and p.picture in page for p in (*shown.most, *shown.least))
    assert "<code>evidence=true</code>: 240 U-Net evaluations more" in page
