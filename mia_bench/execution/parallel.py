"""Small models on a CPU, trained and asked beside each other: a process each instead of threads.

The operations of a small U-Net are too short to be shared: a second thread makes one model hardly
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

from mia_bench.utils.errors import MiaError
from mia_bench.utils.threads import threads

if TYPE_CHECKING:
    from mia_bench.planning.plan import Plan


SMALL_UNET_BYTES = (
    64 * 2**20
)  # bytes of a U-Net; the operations of larger ones keep every thread busy
MIN_EVALUATIONS = 2_000  # evaluations; fewer are made sooner than a process starts
EVALUATIONS_PER_TRAINED_ROW = 3  # what a row costs that is trained on, in evaluations
WORKER_GRACE_SECONDS = 10.0  # seconds in which a helper whose run ends must have ended


def run_stage(plan: Plan, stage: str, work: Callable[[Plan, Sequence[str]], None]) -> None:
    """What is missing of a stage, for every model; beside each other where that is faster.

    `work` does it in this process for the models of some kinds; worker processes do the same, which
    they know by the name of the stage.

    Raises: what the work of this process or of a helper raised.
    """
    waiting = _waiting(plan, stage)
    costs = _costs(plan, stage)
    share = threads_each(plan, costs) if waiting else None
    if share is None:
        work(plan, waiting)
        return
    mine, *others = divide({kind: costs[kind] for kind in waiting}, _processes(costs))
    with threads(share), _helpers(plan, stage, others, share) as helpers:
        work(plan, mine)
        for helper in helpers:
            helper.wait()


def threads_each(plan: Plan, costs: dict[str, int]) -> int | None:
    """Threads of every process, `costs` being evaluations by model; None: this process has all."""
    import torch

    options = plan.experiment.options.trainer
    if not options.parallel_models or options.ranks > 1 or not _on_cpu(options.accelerator):
        return None
    if sum(cost >= MIN_EVALUATIONS for cost in costs.values()) < 2 or torch.get_num_threads() < 2:
        return None
    if plan.experiment.model.unet_bytes() >= SMALL_UNET_BYTES or _local(plan.experiment.resolved):
        return None
    return torch.get_num_threads() // _processes(costs)


def _on_cpu(accelerator: str) -> bool:
    """What Lightning will take."""
    import torch

    if accelerator == "auto":
        return not (torch.cuda.is_available() or torch.backends.mps.is_available())
    return accelerator == "cpu"


def divide(costs: dict[str, int], hands: int) -> list[list[str]]:
    """Models in at most `hands` parts of about the same cost, the dearest first; no part empty."""
    parts: list[list[str]] = [[] for _ in range(hands)]
    for kind in sorted(costs, key=lambda kind: -costs[kind]):
        min(parts, key=lambda part: sum(costs[k] for k in part)).append(kind)
    return [part for part in parts if part]


def _processes(costs: dict[str, int]) -> int:
    import torch

    return min(torch.get_num_threads(), len(costs))


def _waiting(plan: Plan, stage: str) -> list[str]:
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
    for asked in {q.folder: q for run in plan.runs for q in run.feature_specs()}.values():
        kind = asked.model.kind
        costs[kind] = costs.get(kind, 0) + asked.evaluations
    return costs


def _local(node: Any) -> bool:
    """Whether a class of the running script or notebook is named, which no helper can import."""
    if isinstance(node, dict):
        return str(node.get("_target_")).startswith("__main__.") or any(map(_local, node.values()))
    return isinstance(node, list) and any(map(_local, node))


@dataclass(frozen=True)
class Worker:
    """A process at work on the models `kinds`."""

    kinds: Sequence[str]
    process: subprocess.Popen[str]

    def wait(self) -> None:
        """Raises what the helper said, or a MiaError when it was killed."""
        assert self.process.stdout is not None
        said, status = self.process.stdout.read().strip(), self.process.wait()
        if said:
            report = json.loads(said)
            raise MiaError(report["error"]) if report["known"] else RuntimeError(report["error"])
        if status:
            how = f"signal {-status}" if status < 0 else f"status {status}"
            raise MiaError(
                f"the process at work on the {' and '.join(self.kinds)} ended with {how}. Run the "
                "same command again: it goes on from what is saved. Where memory was short, "
                "trainer.parallel_models=false serves one model after the other."
            )


@contextmanager
def _helpers(
    plan: Plan, stage: str, parts: Sequence[Sequence[str]], share: int
) -> Iterator[list[Worker]]:
    """A process for each part; none of them outlives the block."""
    with ExitStack() as stack:
        yield [
            stack.enter_context(_helper(plan, stage, kinds, share, line))
            for line, kinds in enumerate(parts, 1)
        ]


@contextmanager
def _helper(
    plan: Plan, stage: str, kinds: Sequence[str], share: int, line: int
) -> Iterator[Worker]:
    env = {**os.environ, "OMP_NUM_THREADS": str(share)}
    env["PYTHONPATH"] = os.pathsep.join(folder or str(Path.cwd()) for folder in sys.path)
    if sys.stderr.isatty():
        env["TQDM_POSITION"] = str(line)  # its progress below ours
    process = subprocess.Popen(
        [
            sys.executable,
            "-P",
            "-m",
            "mia_bench.execution.worker",
        ],  # what this process imports, no more
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=env,
        start_new_session=True,  # Ctrl-C is for the run, which ends its helpers
    )
    assert process.stdin is not None
    order = {"config": plan.experiment.resolved, "stage": stage, "kinds": list(kinds)}
    try:
        with suppress(BrokenPipeError):  # it ended already: wait() says how
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
