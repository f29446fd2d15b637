"""From outputs/ to runs to report, with metrics recomputed from their scores.

What cannot be read is a `Problem` in words, and the rest is still reported. Everything on disk is
material to show, never to run: no dotpath is imported, names and captions stay text.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from mia_bench.display.charts import Histogram, histogram, thin
from mia_bench.metrics import Roc, auroc
from mia_bench.storage import layout
from mia_bench.storage.index import RunRef, controls_folders, runs, unverified
from mia_bench.storage.stored_files import (
    leads_out,
    read_controls,
    read_frame,
    read_manifest,
)
from mia_bench.utils import text
from mia_bench.utils.errors import MiaError
from mia_bench.utils.terminal import progress
from mia_bench.verification.recompute import metric_differences, recomputed_metrics
from mia_bench.verification.stored_run import StoredRun

CHECKED_FILES = (layout.CONFIG_FILE, layout.METRICS_FILE, layout.SCORES_FILE)
NEEDED_METRICS = frozenset(("controls", "nfe_forward", "seconds", "auroc"))

MIN_RUNS_FOR_PROCESSES = 48  # runs below which starting more processes costs more than it saves
MIN_UNDRAWN_RUNS_FOR_PROCESSES = 500  # the same where no interval is drawn: some 10 ms a run
MAX_PROCESSES = 8
MAX_REDRAWN_RUNS = 100  # runs whose intervals are drawn again unless asked otherwise: 0.3 s each

SUREST_ROWS = 5


@dataclass(frozen=True)
class Problem:
    """Something in outputs/ that is not reported, or not as it was stored, and why."""

    where: str
    what: str


@dataclass(frozen=True)
class RunResult:
    """One finished run: an attack on a target."""

    ref: RunRef
    access: str
    model: str
    data: str
    mitigation: str
    seed: int
    metrics: Mapping[str, Any]
    """Recomputed; what needs more than scores (costs, blind baselines) is the stored one."""
    manifest: Mapping[str, Any]
    config: Mapping[str, Any]
    roc: Roc
    histogram: Histogram
    surest: tuple[tuple[str, bool, float], ...]
    scores_hash: str
    differs: tuple[str, ...] = field(default=())

    @property
    def attack(self) -> str:
        return self.ref.attack

    @property
    def key(self) -> str:
        return self.ref.key

    @property
    def model_key(self) -> str:
        return self.ref.model_key

    @property
    def step(self) -> str:
        return self.ref.step

    @property
    def target(self) -> tuple[str, str]:
        return self.model_key, self.step

    @property
    def rows(self) -> tuple[str, str, int]:
        """What decides the evaluation rows and their controls: data, split and evaluation seed."""
        return self.data, str(self.manifest.get("split")), int(self.config["eval"]["seed"])

    @property
    def controls(self) -> Mapping[str, Any]:
        controls: Mapping[str, Any] = self.metrics["controls"]
        return controls

    @property
    def split(self) -> str:
        return str(self.manifest.get("split"))


def read_outputs(
    outputs: Sequence[Path], intervals: bool | None = None
) -> tuple[list[RunResult], list[Problem], bool]:
    """Every finished run of some outputs folders, what is wrong with the others, and whether
    intervals were drawn again.

    `intervals` None draws them again up to MAX_REDRAWN_RUNS runs; beyond, the stored bounds are
    shown, whose file the manifest vouches for. Everything else is always recomputed.
    """
    problems: list[Problem] = []
    refs: list[RunRef] = []
    for ref in (ref for root in outputs for ref in runs(root)):
        if (obstacle := ref.obstacle) is not None:
            problems.append(Problem(ref.place, obstacle))
        else:
            refs.append(ref)
    again = len(refs) <= MAX_REDRAWN_RUNS if intervals is None else intervals
    outcomes = list(progress(_read_all(refs, again), "runs", "run", len(refs)))
    problems += [outcome for outcome in outcomes if isinstance(outcome, Problem)]
    results = [outcome for outcome in outcomes if isinstance(outcome, RunResult)]
    results, conflicts = _one_per_key(results)
    problems += conflicts
    problems += [
        Problem(run.ref.place, "recomputed from its scores: " + "; ".join(run.differs))
        for run in results
        if run.differs
    ]
    return results, problems, again


def _read_all(refs: Sequence[RunRef], intervals: bool) -> Iterator[RunResult | Problem]:
    read = partial(read_run, intervals=intervals)
    least = MIN_RUNS_FOR_PROCESSES if intervals else MIN_UNDRAWN_RUNS_FOR_PROCESSES
    if len(refs) < least:
        yield from map(read, refs)
        return
    processes = min(MAX_PROCESSES, os.cpu_count() or 1)
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        yield from pool.map(read, refs, chunksize=16)


def read_run(ref: RunRef, intervals: bool = True) -> RunResult | Problem:
    """The run at `ref`, or why it cannot be reported."""
    try:
        return _run(ref, intervals)
    except MiaError as error:
        return Problem(ref.place, str(error))
    except Exception as error:  # whatever a damaged file does to its reader
        reason = f"{type(error).__name__}: {error}"
        return Problem(ref.place, f"not as this version writes runs ({reason})")


def _run(ref: RunRef, intervals: bool) -> RunResult:
    manifest = read_manifest(ref.folder)
    if (problem := unverified(ref.folder, manifest, *CHECKED_FILES)) is not None:
        raise MiaError(f"unverified: {problem}. Delete the folder and run again")
    run = StoredRun(ref)
    config, stored = run.config, run.metrics
    if missing := sorted(NEEDED_METRICS - set(stored)):
        version = manifest.get("versions", {}).get("mia_bench", "unknown")
        lacks = f"{layout.METRICS_FILE} lacks {', '.join(missing)}"
        raise MiaError(f"written by version {version}: {lacks}")
    measured = recomputed_metrics(run, draw=intervals)
    metrics = measured.metrics
    differs = metric_differences(run, metrics)
    threshold = metrics["thresholds"]["tau_acc"]
    return RunResult(
        ref=ref,
        access=str(manifest.get("access", "not recorded")).replace("_", " "),
        model=model_name(config["model"]),
        data=str(config["data"]["name"]),
        mitigation="+".join(map(str, config.get("mitigation") or {})) or "none",
        seed=int(config["seed"]),
        metrics={**stored, **metrics},
        manifest=manifest,
        config=config,
        roc=thin(measured.roc),
        histogram=histogram(measured.rows, threshold),
        surest=_surest(measured.rows),
        scores_hash=str(manifest["files"][layout.SCORES_FILE]),
        differs=tuple(differs),
    )


def model_name(node: Mapping[str, Any]) -> str:
    """A hub id or bundled name as it is; of a folder, its last part."""
    name = text.model_name(node)
    return Path(name).name if name.startswith(("/", ".", "~")) else name


def _surest(rows: pd.DataFrame) -> tuple[tuple[str, bool, float], ...]:
    score = rows.score.to_numpy()
    top = np.argsort(-score, kind="stable")[:SUREST_ROWS]
    every = zip(rows.sample_id.iloc[top], rows.is_member.to_numpy()[top], score[top], strict=True)
    return tuple((str(sid), bool(member), float(score)) for sid, member, score in every)


def _one_per_key(runs: Sequence[RunResult]) -> tuple[list[RunResult], list[Problem]]:
    """Copies of a run are merged; runs of one key with different scores are all left out."""
    by_name: dict[str, list[RunResult]] = defaultdict(list)
    for run in runs:
        by_name[run.ref.name].append(run)
    kept: list[RunResult] = []
    problems: list[Problem] = []
    for same in by_name.values():
        if len({run.scores_hash for run in same}) == 1:
            kept.append(same[0])
            continue
        first, *others = (run.ref.place for run in same)
        what = (
            f"has the same key as {', '.join(others)} and other scores. A key stands for one "
            "result, so neither is reported: find out which one is right and delete the other"
        )
        problems.append(Problem(first, what))
    return kept, problems


def blind_problems(outputs: Iterable[Path]) -> list[Problem]:
    """Controls whose stored AUC is not that of their stored scores."""
    problems: list[Problem] = []
    for root in outputs:
        for folder in controls_folders(root):
            place = folder.relative_to(root).as_posix()
            try:
                problems += [Problem(place, what) for what in _blind_differences(root, folder)]
            except Exception as error:  # whatever a damaged file does to its reader
                problems.append(Problem(place, f"cannot be read: {error}"))
    return problems


def _blind_differences(outputs: Path, folder: Path) -> Iterator[str]:
    if leads_out(folder, outputs):
        raise MiaError("it is a link that leads out of the folder of outputs")
    scores = read_frame(folder / layout.SCORES_FILE)
    for name, entry in read_controls(folder).items():
        value, stored = auroc(scores[name], scores.is_member), entry["auroc"]
        if abs(value - stored) > 1e-9:
            yield f"{name}: AUC {value:.4f} from its scores, stored {stored:.4f}"
