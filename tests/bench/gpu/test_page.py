"""docs/gpu.md: what was not measured says so, and what was has its figure and verdict."""

from __future__ import annotations

from pathlib import Path

from mia_bench.bench.gpu import page, results
from mia_bench.bench.gpu.results import GpuFigures, StepResult

DOCS = Path(__file__).parents[3] / "docs"
MACHINE = {
    "device": "A card",
    "gigabytes": 80.0,
    "is_gpu": True,
    "date": "2026-01-02",
    "python": "3.12.1",
    "torch": "2.9",
    "cuda": "13.0",
    "libraries": {"diffusers": "0.36"},
}


def test_the_page_in_docs_is_made_from_its_figures():
    stored = results.load(DOCS / "gpu.json")
    assert (DOCS / "gpu.md").read_text() == "\n".join(page.page_lines(stored)) + "\n"


def test_without_a_file_nothing_was_measured():
    text = "\n".join(page.page_lines(None))
    assert "Nothing is measured yet" in text
    assert "make gpu-day" in text
    assert "|" not in text


def test_a_step_that_was_not_reached_is_not_measured():
    text = "\n".join(page.page_lines(GpuFigures(MACHINE, "real")))
    rows = [line for line in text.splitlines() if line.startswith("| S")]
    assert len(rows) == 2 * 3 * 4 + 3
    assert all("not measured yet" in row for row in rows)


def test_figures_and_verdicts_are_shown():
    scoring = {
        "float16.seconds_an_image": 0.36,
        "float16.evaluations_an_image": 143.0,
        "float16.gradients_an_image": 1,
        "float16.peak_gigabytes": 31.25,
        "float16.codec_share": 0.0801,
    }
    overheads = {
        "bfloat16.clid": {"value": 1.01, "lo": 1.0, "hi": 1.02},
        "bfloat16.pia": {"value": 1.06, "lo": 1.0, "hi": 1.1},
    }
    steps = {
        "sdxl.all.float16": StepResult(1, 9.0, scoring),
        "sd15.overhead": StepResult(1, 9.0, overheads),
        "sd3.finetune": StepResult(1, 9.0, None, "does not fit into the memory of this device"),
    }
    tests = {"t.py::test_a": "passed", "t.py::test_b[x]": "failed"}
    lines = list(page.page_lines(GpuFigures(MACHINE, "real", steps, tests)))
    text = "\n".join(lines)
    assert "Card: **A card**, 80 GB, 2026-01-02." in text
    assert "rehearsal" not in text
    # 0.36 s x 1,000,000 / 8 / 3600 = 12.5 hours
    assert "| SDXL | float16 | 0.36 | 143 | 1 | 31.25 | 0.0801 | 12.5 |" in lines
    assert "| clid | 1.010 met | not measured yet | not measured yet |" in lines
    assert "| pia | 1.060 **missed** | not measured yet | not measured yet |" in lines
    assert "1 failed, 1 passed." in text
    assert "- failed: `t.py::test_b[x]`" in lines
    assert "- `sd3.finetune`: does not fit into the memory of this device" in lines


def test_the_page_lies_beside_its_figures(tmp_path):
    path = tmp_path / "new" / "gpu.json"
    page.write_page(path)
    assert "Nothing is measured yet" in path.with_suffix(".md").read_text()
