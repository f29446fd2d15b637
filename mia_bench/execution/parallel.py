"""Small models on a CPU, trained and used in parallel: a process each instead of threads.

The operations of a small U-Net are too short to be divided: a second thread makes one model hardly
faster, a second process serves a second model nearly as fast (docs/scale.md). Threads are divided
by what the whole plan consists of, not by what is left of it: a run that was killed ends with the
bits of one that was not.

worker.py is the other process: told the stage and the models in one line of JSON, it reports back.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mia_bench.execution.loading import SMALL_UNET_BYTES
from mia_bench.storage.command import current_command
from mia_bench.utils.errors import MiaError
from mia_bench.utils.threads import threads

if TYPE_CHECKING:
    from mia_bench.config.schema import TrainerOptions
    from mia_bench.planning.plan import Plan


# of a model; fewer are made sooner than a process starts
MIN_EVALUATIONS = 2_000
# what one optimiser step on one row costs, in evaluations
EVALUATIONS_PER_TRAINED_ROW = 3
# a worker whose run has ended must have ended, too
WORKER_GRACE_SECONDS = 10.0


def run_stage(plan: Plan, stage: str, work: Callable[[Plan, Sequence[str]], None]) -> None:
    """Make what is missing of a stage for every model, in parallel where that is faster.

    `work` does it in this process for the kinds of models it is given; worker processes do the same
    for the others, by the name of the stage.

    Raises: what the work of this process or of a worker raised.
    """
    waiting = _waiting(plan, stage)
    costs = _costs(plan, stage)
    experiment = plan.experiment
    share = None
    if waiting and not _local(experiment.resolved):
        share = threads_each(costs, experiment.options.trainer, experiment.model.unet_bytes())
    if share is None:
        work(plan, waiting)
        return
    own, *others = divide({kind: costs[kind] for kind in waiting}, _processes(costs))
    with threads(share), _workers(plan, stage, others, share) as workers:
        work(plan, own)
        for worker in workers:
            worker.wait()


def threads_each(costs: dict[str, int], trainer: TrainerOptions, unet_bytes: int) -> int | None:
    """Threads of every process; None where this process serves all models with all threads.

    `costs`: evaluations by model.
    """
    import torch

    if not trainer.parallel_models or trainer.ranks > 1 or not _on_cpu(trainer.accelerator):
        return None
    if sum(cost >= MIN_EVALUATIONS for cost in costs.values()) < 2 or torch.get_num_threads() < 2:
        return None
    if unet_bytes >= SMALL_UNET_BYTES:
        return None
    return torch.get_num_threads() // _processes(costs)


def _on_cpu(accelerator: str) -> bool:
    """Whether Lightning will choose the CPU."""
    import torch

    if accelerator == "auto":
        return not (torch.cuda.is_available() or torch.backends.mps.is_available())
    return accelerator == "cpu"


def divide(costs: dict[str, int], processes: int) -> list[list[str]]:
    """Models in at most `processes` parts of similar cost, the dearest first; no part is empty."""
    parts: list[list[str]] = [[] for _ in range(processes)]
    for kind in sorted(costs, key=lambda kind: -costs[kind]):
        min(parts, key=lambda part: sum(costs[k] for k in part)).append(kind)
    return [part for part in parts if part]


def _processes(costs: dict[str, int]) -> int:
    import torch

    return min(torch.get_num_threads(), len(costs))


def _waiting(plan: Plan, stage: str) -> list[str]:
    """Kinds of models of which something is missing."""
    if stage == "train":
        return [spec.kind for spec in plan.trained if not spec.ready]
    return list(dict.fromkeys(spec.kind for spec, _ in plan.missing()))


def _costs(plan: Plan, stage: str) -> dict[str, int]:
    """Evaluations by model, of all that the plan consists of, done or not."""
    if stage == "train":
        recipes = {s.kind: s.setup.recipe for s in plan.trained if s.setup}
        return {
            kind: EVALUATIONS_PER_TRAINED_ROW * r.total * r.batch_size
            for kind, r in recipes.items()
        }
    costs: dict[str, int] = {}
    features = {spec.folder: spec for run in plan.runs for spec in run.feature_specs()}
    for spec in features.values():
        costs[spec.model.kind] = costs.get(spec.model.kind, 0) + spec.evaluations
    return costs


def _local(node: Any) -> bool:
    """Whether a class of the running script or notebook is named, which no worker can import."""
    if isinstance(node, dict):
        return str(node.get("_target_")).startswith("__main__.") or any(map(_local, node.values()))
    return isinstance(node, list) and any(map(_local, node))


@dataclass(frozen=True)
class Worker:
    """A process at work on the models `kinds`."""

    kinds: Sequence[str]
    process: subprocess.Popen[str]

    def wait(self) -> None:
        """Raises the error that the worker reported, or a MiaError when it was killed."""
        assert self.process.stdout is not None
        report, status = self.process.stdout.read().strip(), self.process.wait()
        if report:
            error, explained = json.loads(report)["error"], json.loads(report)["explained"]
            raise MiaError(error) if explained else RuntimeError(error)
        if status:
            how = f"signal {-status}" if status < 0 else f"status {status}"
            raise MiaError(
                f"the process at work on the {' and '.join(self.kinds)} ended with {how}. Run the "
                "same command again: it goes on from what is saved. Where memory was short, "
                "trainer.parallel_models=false serves one model after the other."
            )


@contextmanager
def _workers(
    plan: Plan, stage: str, parts: Sequence[Sequence[str]], share: int
) -> Iterator[list[Worker]]:
    """A process for each part; none of them outlives the block."""
    with ExitStack() as stack:
        yield [
            stack.enter_context(_worker(plan, stage, kinds, share, line))
            for line, kinds in enumerate(parts, 1)
        ]


@contextmanager
def _worker(
    plan: Plan, stage: str, kinds: Sequence[str], share: int, line: int
) -> Iterator[Worker]:
    env = {**os.environ, "OMP_NUM_THREADS": str(share)}
    env["PYTHONPATH"] = os.pathsep.join(folder or str(Path.cwd()) for folder in sys.path)
    if sys.stderr.isatty():
        env["TQDM_POSITION"] = str(line)  # its progress bar below that of this process
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "mia_bench.execution.worker"],  # -P: PYTHONPATH alone decides
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=env,
        start_new_session=True,  # Ctrl-C is for this process, which ends its workers
    )
    assert process.stdin is not None
    order = {"config": plan.experiment.resolved, "stage": stage, "kinds": list(kinds)}
    order["command"] = current_command()  # what its manifests record
    try:
        with suppress(BrokenPipeError):  # it has ended already: wait() reports how
            process.stdin.write(json.dumps(order) + "\n")
            process.stdin.flush()
        yield Worker(kinds, process)
    finally:
        with suppress(BrokenPipeError):
            process.stdin.close()
        try:
            process.wait(WORKER_GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        assert process.stdout is not None
        process.stdout.close()
