"""docs/gpu.json: one machine, one size; another file is refused in a sentence."""

from __future__ import annotations

import pytest

from mia_bench.bench.gpu import results
from mia_bench.bench.gpu.results import GpuFigures, StepResult
from mia_bench.bench.timing import Ratio
from mia_bench.utils.errors import MiaError


def test_figures_are_read_as_they_were_written(tmp_path):
    path = tmp_path / "gpu.json"
    figures = results.open_figures(path, "small")
    ratio = Ratio(1.01234567, 1.0, 1.02, (1.0, 1.0))
    figures.steps["sd15.overhead"] = StepResult(1, 2.0, {"bfloat16.loss": ratio})
    figures.tests["a"] = "passed"
    results.save(figures, path)
    stored = results.open_figures(path, "small")
    assert stored.figure("sd15.overhead", "bfloat16.loss")["value"] == 1.0123
    assert stored.figure("sdxl.overhead", "bfloat16.loss") is None
    assert stored.tests == {"a": "passed"}
    assert stored.machine["libraries"].keys() >= {"diffusers", "numpy"}


def test_figures_of_another_card_or_size_are_not_mixed(tmp_path):
    path = tmp_path / "gpu.json"
    results.save(results.open_figures(path, "small"), path)
    with pytest.raises(MiaError, match=r"size=small, and this is .* size=real"):
        results.open_figures(path, "real")
    other = GpuFigures({**results.this_machine(), "device": "Another card"}, "small")
    results.save(other, path)
    with pytest.raises(MiaError, match=r"figures of Another card .*out=FILE"):
        results.open_figures(path, "small")


def test_another_file_is_refused(tmp_path):
    path = tmp_path / "gpu.json"
    path.write_text('{"steps": 3}')
    with pytest.raises(MiaError, match=r"not a file of `bench gpu`"):
        results.load(path)
