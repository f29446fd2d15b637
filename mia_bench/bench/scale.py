"""What thousands of rows, cells and runs cost: resuming, sweeping, looking through the stored."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from mia_bench.bench import growth
from mia_bench.bench.apart import reported
from mia_bench.bench.clock import elapsed

SHORT = (
    *("trainer=cpu", "finetune.steps=2", "finetune.val_every=2", "finetune.val_rows=4"),
    *("eval.resamples=100", "calibration.folds=2"),
    *("data.sizes.target_member=12", "data.sizes.shadow_member=12"),
    "data.sizes.shadow_nonmember=12",
)
SMALL = (*SHORT, "data.sizes.target_nonmember=24")


def resume(rows: int, attack: str = "loss") -> dict[str, float]:
    """Kill a pass without warning when half of its rows are written, and finish it.

    `kept`: rows on disk at the kill; `asked`: by the second pass, which must be all the others.
    """
    with TemporaryDirectory() as name:
        folder, quiet = Path(name), subprocess.DEVNULL
        words = growth.command(rows, attack, folder)
        first = subprocess.Popen([sys.executable, *words], stdout=quiet, stderr=quiet)
        while _shards(folder) * 32 < rows / 2 and first.poll() is None:
            time.sleep(0.2)
        first.kill()
        first.wait()
        found = reported(words)
    return {
        "rows": found["rows"],
        "kept": rows - found["asked"],
        "asked": found["asked"],
        "merge_seconds": found["merge"],
    }


def _shards(folder: Path) -> int:
    return sum(1 for _ in (folder / "shards").glob("*.parquet")) if folder.exists() else 0


def finished_cells(outputs: Path, count: int) -> list[str]:
    """A small run, and its finished cell under the names of `count` other values of CLiD's alpha.

    Returns: the values, as a sweep over them names them.
    """
    from mia_bench.planning.experiment import compose
    from mia_bench.planning.make_plan import make_plan

    words = (*SMALL, f"paths.outputs={outputs}")
    _command("mia_bench", *words)
    experiment = compose(*words)
    plan = make_plan(experiment)
    (run,) = plan.runs
    values = [f"{(i + 1) / (count + 1):.6f}" for i in range(count)]
    for value in values:
        other = replace(run.attack, alpha=float(value))  # type: ignore[type-var]
        for new in replace(plan, experiment=replace(experiment, attacks={"clid": other})).runs:
            if not new.folder.exists():
                shutil.copytree(run.folder, new.folder, copy_function=os.link)
    return values


def stored(finished_runs: int, runs: int) -> dict[str, float]:
    """Seconds to skip `finished_runs` through Hydra, to report them; of status on `runs`."""
    with TemporaryDirectory() as name:
        outputs = Path(name) / "outputs"
        values, there = finished_cells(outputs, finished_runs), f"paths.outputs={outputs}"
        sweep = ["-m", f"attack.clid.alpha={','.join(values)}", *SMALL, there]
        found = {
            "cells_seconds": elapsed(lambda: _command("mia_bench", *sweep)),
            "report_seconds": elapsed(lambda: _command("mia_bench.report", there)),
        }
        finished = sorted(p.parent for p in outputs.glob("runs/*/*/*/manifest.json"))
        for i in range(runs - len(finished)):
            copy = finished[0].with_name(f"clid-{i:016x}")
            shutil.copytree(finished[0], copy, copy_function=os.link)
        status = elapsed(lambda: _command("mia_bench.status", there))
    return found | {"status_seconds": status}


def _command(module: str, *words: str) -> None:
    command = [sys.executable, "-m", module, *words]
    subprocess.run(command, check=True, capture_output=True, env=_one_thread())


def _one_thread() -> dict[str, str]:
    return os.environ | {"OMP_NUM_THREADS": "1"}


def scoring(rows: int) -> dict[str, float]:
    """Seconds and bytes per row of metrics with 2,000 resamples, in a process of its own."""
    return reported(["-m", "mia_bench.bench.scale", str(rows)])


def evaluate_rows(rows: int) -> dict[str, Any]:
    from mia_bench.metrics import fit_thresholds
    from mia_bench.metrics.summary import evaluate
    from mia_bench.utils.memory import peak_of_process

    rng = np.random.default_rng(0)
    member = np.arange(rows) % 4 < 2
    scores = rng.normal(size=rows) + member
    group = [f"group {i // 2}" for i in range(rows)]
    before = peak_of_process()
    thresholds = fit_thresholds(scores, member)
    seconds = elapsed(lambda: evaluate(scores, member, group, thresholds, 0, 2000))
    taken = peak_of_process() - before
    return {"seconds": seconds, "bytes_per_row": taken / rows}


def processes(rows: int) -> float:
    """Wall seconds of one process over those of two, on a pass over `rows` with one thread each."""
    one = _seconds_of_pass(rows, "trainer=cpu")
    two = _seconds_of_pass(rows, "trainer=ddp", "trainer.accelerator=cpu")
    return one / (two / 2)


def ceiling(evaluations: int) -> float:
    """What the machine gives two bare loops beside each other, over one alone: 2 where cores do."""
    words = [sys.executable, "-m", "mia_bench.bench.bare", str(evaluations)]

    def seconds(number: int) -> float:
        started = [
            subprocess.Popen(words, stdout=subprocess.PIPE, text=True, env=_one_thread())
            for _ in range(number)
        ]
        return max(float(process.communicate()[0].splitlines()[-1]) for process in started)

    return 2 * seconds(1) / seconds(2)


def _seconds_of_pass(rows: int, *trainer: str) -> float:
    """Of CLiD and SecMI on the target's rows, summed over ranks, which have as many rows each."""
    with TemporaryDirectory() as outputs:
        words = [
            *(*SHORT, *trainer, f"data.sizes.target_nonmember={rows}", "attack=[clid,secmi]"),
            *("eval.blind_rows=false", "eval.base_rows=[]", f"paths.outputs={outputs}"),
        ]
        _command("mia_bench", *words)
        manifests = Path(outputs).glob("features/*/2/*/manifest.json")
        costs = [json.loads(path.read_text())["cost"] for path in manifests]
    most = max(cost["rows"] for cost in costs)  # the shadow's rows are fewer
    return float(sum(cost["seconds"] for cost in costs if cost["rows"] == most))


if __name__ == "__main__":
    print(json.dumps(evaluate_rows(int(sys.argv[1]))))
