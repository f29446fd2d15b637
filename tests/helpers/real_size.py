"""One stage of the proof at real size, in a process of its own so that its peak memory is its own.

    real_size.py save <folder> <family> <size>
    real_size.py train|score <outputs> <overrides of python -m mia_bench> ...

Prints the seconds and the peak resident memory of the stage as JSON.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

ROWS = 2  # images scored


def save(folder: str, family: str, size: str) -> dict[str, float]:
    import torch
    from pipelines import save_pipeline
    from real_dit import save_sd3

    if family == "sd3":
        save_sd3(Path(folder), torch.float16)
    else:
        save_pipeline(Path(folder), family, size, dtype=torch.float16)
    files = Path(folder).rglob("*.safetensors")
    return {"gigabytes_on_disk": round(sum(f.stat().st_size for f in files) / 1e9, 2)}


def planned(overrides: list[str]):
    from hydra import compose, initialize_config_dir

    from mia_bench.config.compose import conf_dir, register_schema
    from mia_bench.planning.experiment import to_experiment
    from mia_bench.planning.make_plan import make_plan

    register_schema()
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        return make_plan(to_experiment(compose("config", overrides=overrides)))


def train(overrides: list[str]) -> dict[str, float]:
    from functools import partial

    from mia_bench.execution.stages import _train
    from mia_bench.storage.artifacts import get_or_build_on_all_ranks

    plan = planned(overrides)
    get_or_build_on_all_ranks(plan.target.folder, partial(_train, plan, plan.target))
    file = next(plan.target.weights.glob("*.safetensors"))
    return {"saved": file.name, "megabytes_saved": round(file.stat().st_size / 1e6, 2)}


def score(overrides: list[str]) -> dict[str, float]:
    """ROWS images through every attack of the run, on the fine-tuned target."""
    import numpy as np

    from mia_bench.execution.loading import load_model
    from mia_bench.extraction.predict import run_pass
    from mia_bench.extraction.shards import merge

    plan = planned(overrides)
    options = plan.experiment.options
    items = [plan.items[sid] for sid in plan.runs[0].evaluation.sample_id[:ROWS]]
    began = time.monotonic()
    target = load_model(plan, plan.target)
    loading = time.monotonic() - began
    attacks = {c.name: (c.attack, plan.folder("real", c.name)) for c in plan.runs}
    resolution = plan.experiment.model.resolution
    run_pass(target, attacks, items, resolution, ROWS, options.trainer, "score")
    ids = [item.sample_id for item in items]
    tables = {name: merge(folder, ids) for name, (_, folder) in attacks.items()}
    for table, _ in tables.values():
        for values in table.features.values():
            assert np.isfinite(values).all()
    assert getattr(target.latents, "decoder", None) is None
    costs = [cost for _, cost in tables.values()]
    evaluations = sum(cost.queries["forward"] for cost in costs)
    return {
        "loading": round(loading, 1),
        "evaluations": evaluations,
        "seconds_an_evaluation": round(sum(c.seconds for c in costs) / evaluations, 2),
        "parameters_millions": round(sum(p.numel() for p in target.unet.parameters()) / 1e6),
    }


if __name__ == "__main__":
    from mia_bench.utils.memory import peak_of_process

    stage, *arguments = sys.argv[1:]
    start = time.monotonic()
    facts = (
        {"train": train, "score": score}[stage](arguments) if stage != "save" else save(*arguments)
    )
    peak = peak_of_process()
    seconds = round(time.monotonic() - start, 1)
    print(json.dumps({**facts, "seconds": seconds, "peak_gigabytes": round(peak / 1e9, 2)}))
