"""From outputs/ to cells: one finished run each, its metrics recomputed from its scores.

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

import pandas as pd

from mia_bench.display.charts import Histogram, histogram, thin
from mia_bench.metrics import Roc, auroc
from mia_bench.storage.artifacts import MANIFEST
from mia_bench.storage.files import read_json, read_yaml
from mia_bench.storage.hashing import hash_file
from mia_bench.utils.errors import MiaError
from mia_bench.verification.recompute import metric_differences, recomputed_metrics
from mia_bench.verification.stored_run import StoredRun

CHECKED_FILES = ("config.yaml", "metrics.json", "scores.parquet")

MIN_RUNS_FOR_PROCESSES = 48  # cells below which starting more processes costs more than it saves
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

    outputs: Path
    folder: Path
    attack: str
    key: str
    model_key: str
    step: str
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
    def target(self) -> tuple[str, str]:
        return self.model_key, self.step

    @property
    def rows(self) -> tuple[str, str, int]:
        """What decides the evaluation rows and their controls: data, split and evaluation seed."""
        return self.data, str(self.manifest.get("split")), int(self.config["eval"]["seed"])

    @property
    def controls(self) -> Mapping[str, Any]:
        found: Mapping[str, Any] = self.metrics["controls"]
        return found

    @property
    def split(self) -> str:
        return str(self.manifest.get("split"))


def read_outputs(
    outputs: Sequence[Path], intervals: bool | None = None
) -> tuple[list[RunResult], list[Problem], bool]:
    """Every finished run of some outputs folders, what is wrong with the others, and whether
    intervals were drawn again.

    `intervals` None draws them again up to MANY runs; beyond, the stored bounds are shown, whose
    file the manifest vouches for. Everything else is always recomputed.
    """
    problems: list[Problem] = []
    folders: list[tuple[Path, Path]] = []
    for root in outputs:
        for folder in sorted((root / "runs").glob("*/*/*")):
            if not folder.is_dir():
                continue
            if folder.name.endswith(".tmp") or not (folder / MANIFEST).is_file():
                problems.append(Problem(_shown(root, folder), _UNFINISHED))
            else:
                folders.append((root, folder))
    again = len(folders) <= MAX_REDRAWN_RUNS if intervals is None else intervals
    read = list(_read_all(folders, again))
    problems += [found for found in read if isinstance(found, Problem)]
    runs = [found for found in read if isinstance(found, RunResult)]
    runs, conflicts = _one_per_key(runs)
    problems += conflicts
    problems += [
        Problem(_shown(c.outputs, c.folder), "recomputed from its scores: " + "; ".join(c.differs))
        for c in runs
        if c.differs
    ]
    return runs, problems, again


_UNFINISHED = "half-written, no manifest: run its command again to finish it"


def _read_all(
    folders: Sequence[tuple[Path, Path]], intervals: bool
) -> Iterator[RunResult | Problem]:
    read = partial(read_run, intervals=intervals)
    if len(folders) < MIN_RUNS_FOR_PROCESSES:
        yield from map(read, folders)
        return
    processes = min(MAX_PROCESSES, os.cpu_count() or 1)
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        yield from pool.map(read, folders, chunksize=16)


def read_run(where: tuple[Path, Path], intervals: bool = True) -> RunResult | Problem:
    """The run in (outputs, folder)."""
    root, folder = where
    try:
        return _run(root, folder, intervals)
    except MiaError as error:
        return Problem(_shown(root, folder), str(error).replace(f"{folder}/", ""))
    except Exception as error:  # whatever a damaged file does to its reader
        reason = f"{type(error).__name__}: {error}"
        return Problem(_shown(root, folder), f"not as this version writes runs ({reason})")


def _run(root: Path, folder: Path, intervals: bool) -> RunResult:
    manifest = read_json(folder / MANIFEST)
    for name in CHECKED_FILES:
        expected = manifest.get("files", {}).get(name)
        if not (folder / name).is_file():
            raise MiaError(f"{name} is missing: written by another version, or by hand")
        if expected is None or hash_file(folder / name) != expected:
            raise MiaError(f"{name} changed since the run was finished; delete the folder, rerun")
    config = read_yaml(folder / "config.yaml")
    run = StoredRun(folder)
    stored = run.metrics
    if missing := sorted({"controls", "nfe_forward", "seconds", "auroc"} - set(stored)):
        version = manifest.get("versions", {}).get("mia_bench", "unknown")
        raise MiaError(f"written by version {version}: metrics.json lacks {', '.join(missing)}")
    measured = recomputed_metrics(run, draw=intervals)
    metrics = measured.metrics
    differs = metric_differences(run, metrics)
    attack, _, key = folder.name.rpartition("-")
    threshold = metrics["thresholds"]["tau_acc"]
    return RunResult(
        outputs=root,
        folder=folder,
        attack=attack,
        key=key,
        model_key=folder.parent.parent.name,
        step=folder.parent.name,
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
        scores_hash=str(manifest["files"]["scores.parquet"]),
        differs=tuple(differs),
    )


def model_name(node: Mapping[str, Any]) -> str:
    """A hub id or bundled name as it is; of a folder, its last part."""
    path = str(node.get("path") or node.get("_target_", "unknown").rpartition(".")[2])
    name = path.removeprefix("bundled:")
    return Path(name).name if name.startswith(("/", ".", "~")) else name


def _surest(rows: pd.DataFrame) -> tuple[tuple[str, bool, float], ...]:
    top = rows.sort_values("score", ascending=False, kind="stable").head(SUREST_ROWS)
    every = zip(top.sample_id, top.is_member, top.score, strict=True)
    return tuple((str(sid), bool(member), float(score)) for sid, member, score in every)


def _one_per_key(runs: Sequence[RunResult]) -> tuple[list[RunResult], list[Problem]]:
    """Copies of a run are merged; runs of one key with different scores are all left out."""
    by_key: dict[str, list[RunResult]] = defaultdict(list)
    for run in runs:
        by_key[f"{run.attack}-{run.key}"].append(run)
    kept: list[RunResult] = []
    problems: list[Problem] = []
    for same in by_key.values():
        if len({run.scores_hash for run in same}) == 1:
            kept.append(same[0])
            continue
        places = [_shown(run.outputs, run.folder) for run in same]
        what = (
            f"has the same key as {', '.join(places[1:])} and other scores. A key stands for one "
            "result, so neither is reported: find out which one is right and delete the other"
        )
        problems.append(Problem(places[0], what))
    return kept, problems


def blind_problems(outputs: Iterable[Path]) -> list[Problem]:
    """Controls whose stored AUC is not that of their stored scores."""
    problems: list[Problem] = []
    for root in outputs:
        for path in sorted((root / "controls").glob("*/controls.json")):
            try:
                problems += _blind_differs(root, path)
            except Exception as error:
                problems.append(Problem(_shown(root, path.parent), f"cannot be read: {error}"))
    return problems


def _blind_differs(root: Path, path: Path) -> Iterator[Problem]:
    scores = pd.read_parquet(path.with_name("scores.parquet"))
    for name, entry in read_json(path).items():
        found = auroc(scores[name], scores.is_member)
        if abs(found - entry["auroc"]) > 1e-9:
            what = f"{name}: AUC {found:.4f} from its scores, stored {entry['auroc']:.4f}"
            yield Problem(_shown(root, path.parent), what)


def _shown(root: Path, folder: Path) -> str:
    return folder.relative_to(root).as_posix()
