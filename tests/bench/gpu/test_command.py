"""`bench gpu`: refusals, and the whole of it at small size."""

from __future__ import annotations

import pytest
import torch

from mia_bench.bench import __main__ as bench
from mia_bench.bench.gpu import results


def refused(words: list[str], capsys) -> str:
    with pytest.raises(SystemExit):
        bench.main(["gpu", *words])
    return str(capsys.readouterr().err)


@pytest.mark.skipif(torch.cuda.is_available(), reason="here a GPU is at hand")
def test_real_sizes_need_a_gpu(capsys, tmp_path):
    assert "size=small" in refused([f"out={tmp_path / 'gpu.json'}"], capsys)


def test_what_is_not_there_is_refused(capsys, tmp_path):
    out = f"out={tmp_path / 'gpu.json'}"
    assert "size=larger" in refused(["size=larger", out], capsys)
    assert "no step 'sd4'" in refused(["sd4", "size=small", out], capsys)
    assert "must be a whole number" in refused(["sd3", "size=small", "limit=x", out], capsys)


@pytest.mark.long
def test_a_rehearsal_measures_every_step_of_a_model(tmp_path, capsys):
    out = tmp_path / "gpu.json"
    words = ["gpu", "sd3", "size=small", "rounds=1", f"out={out}"]
    bench.main(words)
    figures = results.load(out)
    assert figures is not None
    assert all(step.error is None for step in figures.steps.values())
    assert {name.split(".")[1] for name in figures.steps} == {
        "speed",
        "all",
        "overhead",
        "finetune",
    }
    # docs/scale.md and README: the union of attack=all
    assert figures.figure("sd3.all.float32", "float32.evaluations_an_image") == 149
    assert "| Stable Diffusion 3 (MM-DiT) | float32 |" in out.with_suffix(".md").read_text()
    before = out.read_bytes()
    bench.main(words)
    assert out.read_bytes() == before
    assert "left:" not in capsys.readouterr().out
