"""What each W&B run holds, built from the files of one finished folder and from nothing else.

Captions stay at home: tables carry sample ids. Names that come from data are cut to plain letters.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mia_bench.metrics import registry
from mia_bench.metrics.registry import METRICS, Shown
from mia_bench.storage import layout
from mia_bench.storage.hashing import hash_file, hash_key
from mia_bench.storage.index import RunRef, files_in, finished_runs, sample_sheets, unverified
from mia_bench.storage.stored_files import (
    read_config,
    read_frame,
    read_history,
    read_manifest,
    read_metrics,
)
from mia_bench.tracking.pictures import (
    MAX_PICTURES,
    evidence_strips,
    vouched,
    wandb_files,
    wandb_images,
    without_words,
)
from mia_bench.utils.errors import MiaError
from mia_bench.utils.redaction import without_places
from mia_bench.utils.text import model_name

if TYPE_CHECKING:
    import pandas as pd
    from PIL.Image import Image
    from wandb import Run


MAX_TABLE_ROWS = 1000  # rows of the table of scores
ROC_POINTS = 200  # points of a ROC curve
HISTOGRAM_BINS = 40
MIN_FPR = 1e-3


@dataclass(frozen=True)
class WandbRecord:
    """One W&B run. `signature` changes when what it shows does.

    `load` reads the files of its charts and pictures, and gives what logs them.
    """

    id: str
    name: str
    group: str
    job_type: str
    tags: tuple[str, ...]
    config: dict[str, Any]
    summary: dict[str, float]
    signature: str
    folder: str
    load: Callable[[], Callable[[Run], None]] = field(repr=False, compare=False)


def attack_record(ref: RunRef) -> WandbRecord:
    """A finished run. Raises MiaError for one that cannot be read, or changed since."""
    config, metrics = _config(ref.folder), _vouched_metrics(ref.folder)
    pictures = vouched(evidence_strips(ref.folder / layout.EVIDENCE_FOLDER))
    steps = layout.step_number(ref.step)
    about = {"attack_name": ref.attack, "target": ref.model_key, "step": steps}
    return WandbRecord(
        ref.key,
        f"{ref.attack} {ref.key[:6]}",
        ref.model_key,
        "attack",
        (ref.attack, *_words(config)),
        config | about,
        flat(metrics) | {"step": float(steps)},
        _signature([ref.folder / layout.MANIFEST_FILE, *pictures]),
        ref.place,
        lambda: _attack_content(ref, pictures),
    )


def _vouched_metrics(folder: Path) -> dict[str, Any]:
    """The metrics of a run, of which every file that is sent is what its manifest vouches for.

    Raises:
        MiaError: one cannot be read, or changed since.
    """
    metrics, manifest = read_metrics(folder), read_manifest(folder)
    problem = unverified(folder, manifest, layout.METRICS_FILE, layout.SCORES_FILE, layout.ROC_FILE)
    if problem is not None:
        raise MiaError(f"unverified: {problem}")
    return metrics


def finetune_record(folder: Path, outputs: Path) -> WandbRecord:
    """The model in `folder`, with samples that utility measurements left of it.

    Raises:
        MiaError: it cannot be read.
    """
    manifest, config = read_manifest(folder), _config(folder)
    pictures = vouched(sample_sheets(outputs, folder.name)[:MAX_PICTURES])
    history = read_history(folder / layout.HISTORY_FILE)
    kind = str(manifest.get("kind", "target"))
    return WandbRecord(
        folder.name,
        f"{kind} {folder.name[:6]}",
        folder.name,
        "finetune",
        (kind, *_words(config)),
        config | {"target": folder.name, "kind": kind},
        (history[-1] if history else {}) | {"seconds": float(manifest.get("wall_seconds", 0.0))},
        _signature([folder / layout.MANIFEST_FILE, *pictures]),
        folder.relative_to(outputs).as_posix(),
        lambda: partial(_log_finetune, history=history, pictures=pictures),
    )


def report_record(model_key: str, outputs: Path) -> WandbRecord:
    """All readable runs of one target side by side, with the figures drawn of them."""
    refs, rows = [], []
    for ref in finished_runs(outputs, model_key):
        try:
            rows.append((ref.attack, ref.step, flat(_vouched_metrics(ref.folder))))
            refs.append(ref)
        except MiaError:  # its own record names it
            continue
    folder = layout.report_folder(outputs, model_key)
    figures = [path for path in files_in(folder, ".png") if path.name.startswith("roc-")]
    config = _config(refs[0].folder) if refs else {}
    for name in ("attack", "eval", "calibration"):
        config.pop(name, None)
    return WandbRecord(
        f"report-{model_key}",
        f"report {model_key[:6]}",
        model_key,
        "report",
        _words(config),
        config | {"target": model_key},
        {
            "cells": float(len(rows)),
            "best_auroc": max((row["auroc"] for _, _, row in rows), default=0.0),
        },
        hash_key([ref.name for ref in refs]),
        folder.relative_to(outputs).as_posix(),
        lambda: partial(_log_report, rows=rows, figures=figures[-MAX_PICTURES:]),
    )


def flat(metrics: Mapping[str, Any]) -> dict[str, float]:
    """Stable W&B names: auroc, auroc_lo, auroc_hi, tpr_at_fpr_0_01, asr, nfe, seconds, ...

    Raises:
        MiaError: metrics of another version.
    """
    try:
        figures = registry.flat(metrics) | {"auroc": metrics["auroc"]["value"]}
        figures |= {"nfe": metrics["nfe_forward"], "nfe_backward": metrics["nfe_backward"]}
        figures["seconds"] = metrics["seconds"]
        for control, entry in metrics["controls"].items():
            value = entry["auroc"]
            value = value["value"] if isinstance(value, Mapping) else value
            figures[f"control_{control}_auroc"] = value
    except (KeyError, TypeError, AttributeError) as error:
        raise MiaError(f"{layout.METRICS_FILE} is of another version: {error!r}") from error
    return {name: value for name, value in figures.items() if value is not None}


def table_names() -> list[str]:
    """Figures of a table of runs: those that every table shows, and what they cost."""
    metrics = [name for name, metric in METRICS.items() if metric.shown == Shown.EVERYWHERE]
    return [*metrics, "nfe", "seconds"]


def sampled(scores: pd.DataFrame, most: int = MAX_TABLE_ROWS) -> pd.DataFrame:
    """Evaluation rows without captions, evenly over the ranks of the score when there are many."""
    import numpy as np

    rows = scores[~scores.calibration].sort_values("score", ascending=False, kind="stable")
    if len(rows) > most:
        rows = rows.iloc[np.linspace(0, len(rows) - 1, most).round().astype(int)]
    return rows[["sample_id", "group", "is_member", "score"]]


def thinned(roc: pd.DataFrame, most: int = ROC_POINTS) -> pd.DataFrame:
    """Corner points of the curve, evenly over both axes on a log scale, ends included."""
    import numpy as np

    curve = roc[["fpr", "tpr"]].drop_duplicates().reset_index(drop=True)
    if len(curve) <= most:
        return curve
    along = np.log10(curve.fpr.clip(lower=MIN_FPR)) + np.log10(curve.tpr.clip(lower=MIN_FPR))
    wanted = np.linspace(along.iloc[0], along.iloc[-1], most)
    rows = np.unique(np.searchsorted(along.to_numpy(), wanted).clip(max=len(curve) - 1))
    return curve.iloc[np.union1d(rows, [0, len(curve) - 1])]


def _attack_content(ref: RunRef, pictures: Sequence[Path]) -> Callable[[Run], None]:
    roc = thinned(read_frame(ref.folder / layout.ROC_FILE))
    scores = read_frame(ref.folder / layout.SCORES_FILE)
    panels = without_words(pictures)
    return partial(_log_attack, attack=ref.attack, roc=roc, scores=scores, pictures=panels)


def _log_attack(
    run: Run,
    attack: str,
    roc: pd.DataFrame,
    scores: pd.DataFrame,
    pictures: Mapping[str, Image],
) -> None:
    import numpy as np
    import pandas as pd
    import wandb

    run.define_metric("roc_fpr", hidden=True)
    run.define_metric("roc_tpr", step_metric="roc_fpr")
    for fpr, tpr in roc.itertuples(index=False):
        run.log({"roc_fpr": float(fpr), "roc_tpr": float(tpr)})
    line = wandb.plot.line
    log = pd.DataFrame({f"log10_{n}": np.log10(roc[n].clip(lower=MIN_FPR)) for n in ("fpr", "tpr")})
    rows = sampled(scores)
    titles = f"ROC of {attack}", f"ROC of {attack}, log-log"
    run.log(
        {
            "roc": line(wandb.Table(dataframe=roc), "fpr", "tpr", title=titles[0]),
            "roc_log": line(wandb.Table(dataframe=log), "log10_fpr", "log10_tpr", title=titles[1]),
            **_histograms(scores),
            "scores": wandb.Table(dataframe=rows),
            **wandb_images("evidence", pictures),
        }
    )


def _histograms(scores: pd.DataFrame) -> dict[str, Any]:
    """Of members and of non-members, over common bins."""
    import numpy as np
    import wandb

    rows = scores[~scores.calibration]
    edges = np.histogram_bin_edges(rows.score, bins=HISTOGRAM_BINS)
    parts = {"scores_members": rows[rows.is_member], "scores_nonmembers": rows[~rows.is_member]}
    return {
        name: wandb.Histogram(np_histogram=np.histogram(part.score, bins=edges))
        for name, part in parts.items()
    }


def _log_finetune(
    run: Run, history: Sequence[Mapping[str, float]], pictures: Sequence[Path]
) -> None:
    run.define_metric("step", hidden=True)
    for name in ("epoch", "train_loss", "val_member", "val_heldout"):
        run.define_metric(name, step_metric="step")
    for row in history:
        run.log(dict(row))
    if pictures:
        run.log(wandb_files("samples", pictures))


def _log_report(
    run: Run, rows: Sequence[tuple[str, str, dict[str, float]]], figures: Sequence[Path]
) -> None:
    import wandb

    names = ["auroc", "auroc_lo", "auroc_hi", *table_names()[1:]]
    data: list[Any] = [
        [attack, step, *(figures.get(n) for n in names)] for attack, step, figures in rows
    ]
    table = wandb.Table(columns=["attack", "step", *names], data=data)
    run.log({"leaderboard": table, **wandb_files("roc_figures", figures)})


def _config(folder: Path) -> dict[str, Any]:
    """The resolved configuration without places of this machine, with flat names to group by."""
    config = without_places(read_config(folder))
    flat_names = {
        "data_name": str(config["data"]["name"]),
        "model_name": model_name(config["model"]).rpartition(":")[2],
        "mitigation_name": "+".join(config.get("mitigation") or {}) or "none",
    }
    return {**config, **flat_names}


def _words(config: Mapping[str, Any]) -> tuple[str, ...]:
    """Tags: data and mitigation, within the 64 characters that W&B allows."""
    names = [config.get("data_name"), config.get("mitigation_name")]
    return tuple(str(word)[:64] for word in names if word and word != "none")


def _signature(paths: Sequence[Path]) -> str:
    return hash_key([[path.name, hash_file(path)] for path in paths])
