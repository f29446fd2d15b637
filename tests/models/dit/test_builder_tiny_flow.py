"""The bundled flow-matching model: its size, what it draws, and the whole pipeline on it."""

from __future__ import annotations

import pandas as pd
import pytest
import torch

from mia_bench.execution.run import execute
from mia_bench.models.dit.builder import DiffusionTransformer
from mia_bench.models.hub import BUNDLED

BUNDLE = BUNDLED / "tiny_flow"
MODEL = DiffusionTransformer("bundled:tiny_flow", 64, chunk=8, tokens=32)


def test_the_bundle_is_small_and_safetensors_alone() -> None:
    files = [path for path in BUNDLE.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < 10e6
    assert {path.suffix for path in files} <= {".json", ".safetensors"}
    assert MODEL.directory.place("text_encoder") == BUNDLED / "tiny" / "text_encoder"
    assert not any("_name_or_path" in path.read_text("utf-8") for path in BUNDLE.rglob("*.json"))
    MODEL.base_hash()


@torch.no_grad()
def test_captions_decide_what_is_drawn() -> None:
    target = MODEL.build(MODEL.load_unet(), seed=0)
    caption = "cat face, pet, animal"
    with_text, without = target.embed([caption]), target.embed([""])
    z = torch.randn(1, *target.latent_shape, generator=torch.Generator().manual_seed(0))
    moved = target.predict_noise(z, 500, with_text) - target.predict_noise(z, 500, without)
    assert moved.abs().mean() > 1e-3
    image = target.generate([caption], seed=0, steps=4)
    assert image.shape == (1, 3, 64, 64)
    assert bool(image.isfinite().all())


@pytest.mark.long
def test_the_whole_pipeline_runs_on_it(small, tmp_path) -> None:
    run = small("model=tiny_flow", "attack=[clid,rf_mc]", outputs=tmp_path)
    execute(run)
    for name in ("clid", "rf_mc"):
        (scores,) = tmp_path.glob(f"runs/*/*/{name}-*/scores.parquet")
        assert pd.read_parquet(scores).score.notna().all()
