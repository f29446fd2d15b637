"""The page of an audit in a real browser: three widths, both schemes, on paper."""

from __future__ import annotations

import base64
from dataclasses import replace

import pytest
from browser_fixtures import WIDTHS, open_page, page_faults

from mia_bench.audit.page.content import page_of
from mia_bench.audit.page.files import render

pytestmark = pytest.mark.browser
LONG = "W" * 120


@pytest.fixture(scope="module")
def page(audited, audited_folder, tmp_path_factory):
    """A finished audit with a model, a file and a caption of one endless word each."""
    shown = page_of(audited, audited_folder)
    most = [replace(p, name=LONG, caption=LONG, neighbour_name=LONG) for p in shown.most]
    model = replace(shown.result.prepared.model, name=LONG, remark=LONG)
    result = replace(shown.result, prepared=replace(shown.result.prepared, model=model))
    path = tmp_path_factory.mktemp("audit_page") / "index.html"
    path.write_text(render(replace(shown, result=result, most=most, remarks=[LONG])))
    return path


@pytest.mark.first_look
@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", WIDTHS)
def test_it_fits_and_draws_at_every_width(driver, page, width, dark):
    assert page_faults(driver, page, width, dark) == []
    assert driver.execute_script("return document.querySelectorAll('svg.chart').length") == 1
    paper = driver.execute_script("return getComputedStyle(document.body).backgroundColor")
    assert (max(map(int, paper[4:-1].split(","))) < 60) is dark


@pytest.mark.long
def test_it_prints(driver, page):
    open_page(driver, page)
    data = driver.execute_cdp_cmd("Page.printToPDF", {"printBackground": False})["data"]
    assert base64.b64decode(data).startswith(b"%PDF")
    assert len(data) > 10_000
