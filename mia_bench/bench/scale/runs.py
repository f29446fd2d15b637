"""Long runs: processes side by side, resuming, many stored runs, metrics of many rows."""

from __future__ import annotations

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

from mia_bench.bench.scale.memory import BATCH_ROWS
from mia_bench.bench.timing import child_command, elapsed, run_child
from mia_bench.storage import layout
from mia_bench.storage.index import feature_folders, files_in, finished_runs
from mia_bench.storage.stored_files import read_manifest

SHORT_TRAINING = (
    *("trainer=cpu", "finetune.steps=2", "finetune.val_every=2", "finetune.val_rows=4"),
    *("eval.resamples=100", "calibration.folds=2"),
    *("data.sizes.target_member=12", "data.sizes.shadow_member=12"),
    "data.sizes.shadow_nonmember=12",
)
SMALL_RUN = (*SHORT_TRAINING, "data.sizes.target_nonmember=24")
TWO_MODELS = ("trainer=cpu", "attack=clid", "eval.base_rows=[]", "finetune.steps=150")


# --- two models


def parallel_models() -> dict[str, float]:
    """`train`, `extract`: seconds of one model after the other over those of two in parallel.

    One after the other has every thread, two in parallel have one each.
    """
    one_by_one, parallel = _model_stages("trainer.parallel_models=false"), _model_stages()
    return {stage: one_by_one[stage] / parallel[stage] for stage in one_by_one}


def _model_stages(*overrides: str) -> dict[str, float]:
    with TemporaryDirectory() as outputs:
        threads = str(os.cpu_count())
        words = [outputs, *TWO_MODELS, *overrides]
        seconds: dict[str, float] = run_child("model_stages", *words, OMP_NUM_THREADS=threads)
        return seconds


def seconds_of_stages(*overrides: str) -> dict[str, float]:
    """Wall seconds of training a run's models (`train`) and of extracting features (`extract`)."""
    from mia_bench.execution.stages import extract_features, train_models
    from mia_bench.planning.experiment import compose
    from mia_bench.planning.make_plan import make_plan

    plan = make_plan(compose(*overrides))
    seconds = {}
    for stage, work in (("train", train_models), ("extract", extract_features)):
        began = time.perf_counter()
        work(plan)
        seconds[stage] = time.perf_counter() - began
    return seconds


# --- two processes on one model


def ddp_speedup(rows: int) -> float:
    """Wall seconds of one process over those of two, on a pass over `rows` with one thread each."""
    one = _seconds_of_pass(rows, "trainer=cpu")
    two = _seconds_of_pass(rows, "trainer=ddp", "trainer.accelerator=cpu")
    return one / (two / 2)


def ddp_ceiling(evaluations: int) -> float:
    """What the machine gives two bare U-Net loops at once, over one: 2 where cores are free."""
    command = child_command("unet", str(evaluations))

    def seconds(number: int) -> float:
        processes = [
            subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=_one_thread())
            for _ in range(number)
        ]
        return max(float(process.communicate()[0].splitlines()[-1]) for process in processes)

    return 2 * seconds(1) / seconds(2)


def _seconds_of_pass(rows: int, *trainer: str) -> float:
    """Of CLiD and SecMI on the target's rows, summed over ranks, which have as many rows each."""
    with TemporaryDirectory() as outputs:
        words = [
            *(*SHORT_TRAINING, *trainer, f"data.sizes.target_nonmember={rows}"),
            *("attack=[clid,secmi]", "eval.blind_rows=false", "eval.base_rows=[]"),
            f"paths.outputs={outputs}",
        ]
        _run_command("mia_bench", *words)
        tables = [f for f in feature_folders(Path(outputs)) if f.parent.name == "2"]
        costs = [read_manifest(folder)["cost"] for folder in tables]
    most = max(cost["rows"] for cost in costs)  # the shadow's rows are fewer
    return float(sum(cost["seconds"] for cost in costs if cost["rows"] == most))


# --- a pass that is killed


def resume(rows: int, attack: str = "loss") -> dict[str, float]:
    """Kill a pass without warning when half of its rows are written, and finish it.

    `stored`: rows on disk at the kill; `extracted`: by the second pass, which must be all others.
    """
    with TemporaryDirectory() as name:
        folder, nowhere = Path(name), subprocess.DEVNULL
        words = ("predict_pass", str(rows), attack, str(folder))
        first = subprocess.Popen(child_command(*words), stdout=nowhere, stderr=nowhere)
        while _shards(folder) * BATCH_ROWS < rows / 2 and first.poll() is None:
            time.sleep(0.2)
        first.kill()
        first.wait()
        second = run_child(*words)
    return {
        "rows": second["rows"],
        "stored": rows - second["extracted"],
        "extracted": second["extracted"],
        "merge_seconds": second["merge"],
    }


def _shards(folder: Path) -> int:
    return len(files_in(folder / layout.SHARDS_FOLDER, ".parquet"))


# --- thousands of finished runs


def stored_runs(n_finished: int, status_runs: int) -> dict[str, float]:
    """Seconds to skip `n_finished` runs in a sweep, to report them; of status on `status_runs`."""
    with TemporaryDirectory() as name:
        outputs = Path(name) / "outputs"
        alphas, to_outputs = copy_runs(outputs, n_finished), f"paths.outputs={outputs}"
        sweep = ["-m", f"attack.clid.alpha={','.join(alphas)}", *SMALL_RUN, to_outputs]
        seconds = {
            "skip_seconds": elapsed(lambda: _run_command("mia_bench", *sweep)),
            "report_seconds": elapsed(lambda: _run_command("mia_bench.report", to_outputs)),
        }
        finished = [ref.folder for ref in finished_runs(outputs)]
        for i in range(status_runs - len(finished)):
            copy = finished[0].with_name(f"clid-{i:016x}")
            shutil.copytree(finished[0], copy, copy_function=os.link)
        status = elapsed(lambda: _run_command("mia_bench.status", to_outputs))
    return seconds | {"status_seconds": status}


def copy_runs(outputs: Path, count: int) -> list[str]:
    """A small run, and its finished folder under the names of `count` other values of CLiD's alpha.

    Returns: the values, as a sweep over them writes them.
    """
    from mia_bench.planning.experiment import compose
    from mia_bench.planning.make_plan import make_plan

    words = (*SMALL_RUN, f"paths.outputs={outputs}")
    _run_command("mia_bench", *words)
    experiment = compose(*words)
    plan = make_plan(experiment)
    (run,) = plan.runs
    alphas = [f"{(i + 1) / (count + 1):.6f}" for i in range(count)]
    for alpha in alphas:
        other = replace(run.attack, alpha=float(alpha))  # type: ignore[type-var]
        for new in replace(plan, experiment=replace(experiment, attacks={"clid": other})).runs:
            if not new.folder.exists():
                shutil.copytree(run.folder, new.folder, copy_function=os.link)
    return alphas


def _run_command(module: str, *words: str) -> None:
    command = [sys.executable, "-m", module, *words]
    subprocess.run(command, check=True, capture_output=True, env=_one_thread())


def _one_thread() -> dict[str, str]:
    return os.environ | {"OMP_NUM_THREADS": "1"}


# --- metrics of many rows


def measure_metrics(rows: int) -> dict[str, float]:
    """Seconds and bytes per row of metrics with 2,000 resamples, in a process of its own."""
    result: dict[str, float] = run_child("metrics", str(rows))
    return result


def metrics_of_rows(rows: int) -> dict[str, Any]:
    """The same in this process, on synthetic scores in groups of two."""
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
    return {"seconds": seconds, "bytes_per_row": (peak_of_process() - before) / rows}
