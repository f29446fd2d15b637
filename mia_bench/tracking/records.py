"""What each W&B run holds, built from the files of one finished folder and from nothing else.

Captions stay at home: tables carry sample ids. Names that come from data are cut to plain letters.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mia_bench.metrics import registry
from mia_bench.metrics.registry import METRICS, Shown
from mia_bench.storage.files import read_json, read_yaml
from mia_bench.storage.hashing import hash_file, hash_key
from mia_bench.utils.errors import MiaError

if TYPE_CHECKING:
    import pandas as pd
    from wandb import Run


MAX_TABLE_ROWS = 1000  # rows of the table of scores
ROC_POINTS = 200  # points of a ROC curve
HISTOGRAM_BINS = 40
MAX_PICTURES = 16
MIN_FPR = 1e-3


@dataclass(frozen=True)
class WandbRecord:
    """One W&B run. `signature` changes when what it shows does; `fill` logs charts and pictures."""

    id: str
    name: str
    group: str
    job_type: str
    tags: tuple[str, ...]
    config: dict[str, Any]
    summary: dict[str, float]
    signature: str
    folder: str
    fill: Callable[[Run], None] = field(repr=False, compare=False)


def attack_record(folder: Path, outputs: Path) -> WandbRecord:
    """A cell outputs/runs/<target>/<step>/<attack>-<run_key>."""
    attack, _, key = folder.name.rpartition("-")
    config = _config(folder)
    metrics = read_json(folder / "metrics.json")
    pictures = sorted((folder / "evidence").glob("*.png"))[:MAX_PICTURES]
    target, step = folder.parent.parent.name, folder.parent.name
    steps = int(step) if step.isdigit() else 0  # 0: the base as it is
    about = {"attack_name": attack, "target": target, "step": steps}
    return WandbRecord(
        key,
        f"{attack} {key[:6]}",
        target,
        "attack",
        (attack, *_words(config)),
        config | about,
        flat(metrics) | {"step": float(steps)},
        _signature([folder / "manifest.json", *pictures]),
        folder.relative_to(outputs).as_posix(),
        lambda run: _fill_attack(run, folder, attack, pictures),
    )


def finetune_record(folder: Path, outputs: Path) -> WandbRecord:
    """A model outputs/targets/<model_key>, with samples that utility measurements left of it."""
    manifest, config = read_json(folder / "manifest.json"), _config(folder)
    pictures = sorted(outputs.glob(f"utility/{folder.name}/*/*/samples.png"))[:MAX_PICTURES]
    last = (read_history(folder / "train.csv") or [{}])[-1]
    kind = str(manifest.get("kind", "target"))
    return WandbRecord(
        folder.name,
        f"{kind} {folder.name[:6]}",
        folder.name,
        "finetune",
        (kind, *_words(config)),
        config | {"target": folder.name, "kind": kind},
        last | {"seconds": float(manifest.get("wall_seconds", 0.0))},
        _signature([folder / "manifest.json", *pictures]),
        folder.relative_to(outputs).as_posix(),
        lambda run: _fill_finetune(run, folder, pictures),
    )


def report_record(target: str, outputs: Path) -> WandbRecord:
    """All finished cells of one target side by side, with the figures drawn of them."""
    runs = sorted(p.parent for p in (outputs / "runs" / target).glob("*/*/manifest.json"))
    figures = sorted((outputs / "reports" / target).glob("roc-*.png"))[-MAX_PICTURES:]
    rows = [(c.name.rpartition("-")[0], c.parent.name, flat(_metrics(c))) for c in runs]
    best = max((row[2]["auroc"] for row in rows), default=0.0)
    config = _config(runs[0]) if runs else {}
    for name in ("attack", "eval", "calibration"):
        config.pop(name, None)
    return WandbRecord(
        f"report-{target}",
        f"report {target[:6]}",
        target,
        "report",
        _words(config),
        config | {"target": target},
        {"cells": float(len(rows)), "best_auroc": best},
        hash_key([run.name for run in runs]),
        f"reports/{target}",
        lambda run: _fill_report(run, rows, figures),
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
        raise MiaError(f"metrics.json is of another version: {error!r}") from error
    return {name: value for name, value in figures.items() if value is not None}


def table_names() -> list[str]:
    """Figures of a table of runs: those that every table shows, and what they cost."""
    metrics = [name for name, metric in METRICS.items() if metric.shown == Shown.EVERYWHERE]
    return [*metrics, "nfe", "seconds"]


def read_history(path: Path) -> list[dict[str, float]]:
    """Rows of train.csv: step, epoch, train_loss, val_member, val_heldout."""
    if not path.is_file():
        return []
    with path.open(newline="", encoding="utf-8") as handle:
        return [{k: float(v) for k, v in row.items() if v} for row in csv.DictReader(handle)]


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


def _fill_attack(run: Run, folder: Path, attack: str, pictures: Sequence[Path]) -> None:
    import numpy as np
    import pandas as pd
    import wandb

    run.define_metric("roc_fpr", hidden=True)
    run.define_metric("roc_tpr", step_metric="roc_fpr")
    roc = thinned(pd.read_parquet(folder / "roc.parquet"))
    for fpr, tpr in roc.itertuples(index=False):
        run.log({"roc_fpr": float(fpr), "roc_tpr": float(tpr)})
    line = wandb.plot.line
    log = pd.DataFrame({f"log10_{n}": np.log10(roc[n].clip(lower=MIN_FPR)) for n in ("fpr", "tpr")})
    scores = pd.read_parquet(folder / "scores.parquet")
    rows = sampled(scores)
    titles = f"ROC of {attack}", f"ROC of {attack}, log-log"
    run.log(
        {
            "roc": line(wandb.Table(dataframe=roc), "fpr", "tpr", title=titles[0]),
            "roc_log": line(wandb.Table(dataframe=log), "log10_fpr", "log10_tpr", title=titles[1]),
            **_histograms(scores),
            "scores": wandb.Table(dataframe=rows),
            **_images("evidence", pictures),
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


def _fill_finetune(run: Run, folder: Path, pictures: Sequence[Path]) -> None:
    run.define_metric("step", hidden=True)
    for name in ("epoch", "train_loss", "val_member", "val_heldout"):
        run.define_metric(name, step_metric="step")
    for row in read_history(folder / "train.csv"):
        run.log(row)
    if pictures:
        run.log(_images("samples", pictures))


def _fill_report(
    run: Run, rows: Sequence[tuple[str, str, dict[str, float]]], figures: Sequence[Path]
) -> None:
    import wandb

    names = ["auroc", "auroc_lo", "auroc_hi", *table_names()[1:]]
    data: list[Any] = [
        [attack, step, *(figures.get(n) for n in names)] for attack, step, figures in rows
    ]
    table = wandb.Table(columns=["attack", "step", *names], data=data)
    run.log({"leaderboard": table, **_images("roc_figures", figures)})


def _images(name: str, paths: Sequence[Path]) -> dict[str, Any]:
    import wandb

    from mia_bench.utils.text import safe_name

    shown = [wandb.Image(str(path), caption=safe_name(path.stem)) for path in paths]
    return {name: shown} if shown else {}


def _config(folder: Path) -> dict[str, Any]:
    """The resolved configuration, with flat names to group by."""
    path = folder / "config.yaml"
    config = read_yaml(path)
    try:
        model = config["model"]
        flat_names = {
            "data_name": str(config["data"]["name"]),
            "model_name": str(model.get("path", model.get("_target_", ""))).rpartition(":")[2],
            "mitigation_name": "+".join(config.get("mitigation") or {}) or "none",
        }
    except (KeyError, TypeError, AttributeError) as error:
        raise MiaError(f"cannot use {path}: {error!r}. It may be of another version.") from error
    return {**config, **flat_names}


def _words(config: Mapping[str, Any]) -> tuple[str, ...]:
    """Tags: data and mitigation, within the 64 characters that W&B allows."""
    found = [config.get("data_name"), config.get("mitigation_name")]
    return tuple(str(word)[:64] for word in found if word and word != "none")


def _metrics(folder: Path) -> dict[str, Any]:
    return read_json(folder / "metrics.json")


def _signature(paths: Sequence[Path]) -> str:
    return hash_key([[path.name, hash_file(path)] for path in paths])
