"""Stable Diffusion 1.5 at its full size, SDXL at a reduced width, Stable Diffusion 3 at its full
width with two layers: random weights.

Saved in diffusers' layout, loaded by the public names with only the path overridden, fine-tuned for
two steps of adapters and asked by three attacks. Run by `make test-real`.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / "helpers/real_size.py"
LIMIT = 12.0  # gigabytes of memory for scoring Stable Diffusion 1.5


def stage(*arguments: str) -> dict[str, float]:
    env = {**os.environ, "OMP_WAIT_POLICY": "PASSIVE", "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, str(SCRIPT), *arguments], capture_output=True, text=True, env=env
    )
    assert done.returncode == 0, done.stderr[-4000:]
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    print(f"\n{arguments[0]:<6} {' '.join(f'{k}={v}' for k, v in found.items())}", flush=True)
    return found


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "family", "size", "millions", "more"),
    [
        ("sd15", "sd1", "full", 860, ()),
        ("sdxl", "sdxl", "reduced", None, ("model.resolution=256",)),
        ("sd3", "sd3", "full width", None, ("model.resolution=512",)),
    ],
)
def test_the_real_architecture_fits_and_runs(tmp_path, name, family, size, millions, more):
    stage("save", str(tmp_path / name), family, size)
    run = (
        f"model={name}",
        f"model.path={tmp_path / name}",
        *more,
        "trainer=cpu",
        "attack=[clid,pia,noise_agg]",
        "eval.base_rows=[]",
        "finetune.steps=2",
        "finetune.epochs=null",
        "finetune.batch_size=1",
        "finetune.lora_rank=4",
        "finetune.val_rows=1",
        "finetune.val_every=100",
        "data.sizes.target_member=2",
        "data.sizes.target_nonmember=2",
        "data.sizes.shadow_member=20",  # for the plan; the shadow is not trained here
        "data.sizes.shadow_nonmember=20",
        f"paths.outputs={tmp_path / 'outputs'}",
    )
    trained = stage("train", *run)
    assert trained["saved"] == "pytorch_lora_weights.safetensors"
    scored = stage("score", *run)
    assert scored["evaluations"] == 2 * (15 + 2 + 5)
    if millions is not None:
        assert scored["parameters_millions"] == millions
        assert scored["peak_gigabytes"] < LIMIT
    shutil.rmtree(tmp_path / name)
