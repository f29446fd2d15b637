"""W&B: a mirror of what is already on disk, one run per cell. It never stops or loses a run."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mia_bench.config import LoggerOptions
from mia_bench.errors import MiaError

MODES = ("online", "offline", "disabled")


def mode_of(options: LoggerOptions) -> str:
    """The mode to use: offline, with a message, when online is asked for and there is no key.

    Raises:
        MiaError: `logger.wandb` is none of online, offline, disabled.
    """
    if options.wandb not in MODES:
        raise MiaError(f"logger.wandb={options.wandb}: use one of {', '.join(MODES)}.")
    netrc = Path(os.environ.get("NETRC", "~/.netrc")).expanduser()
    if options.wandb == "online" and not os.environ.get("WANDB_API_KEY") and not netrc.exists():
        print("W&B: no API key found, so this run is recorded offline (`wandb sync` sends it).")
        return "offline"
    return options.wandb


def flat(metrics: Mapping[str, Any]) -> dict[str, float]:
    """Stable W&B names: auroc, auroc_lo, auroc_hi, tpr_at_fpr_0_01, asr, nfe, seconds, ..."""
    entries = {name: metrics[name] for name in ("auroc", "asr", "tpr_calibrated", "realised_fpr")}
    for fpr, entry in metrics["tpr_at_fpr"].items():
        entries[f"tpr_at_fpr_{fpr.replace('.', '_')}"] = entry
    named = {name: entry["value"] for name, entry in entries.items()}
    named |= {
        f"{name}_{end}": entry.get(end) for name, entry in entries.items() for end in ("lo", "hi")
    }
    named |= {"nfe": metrics["nfe_forward"], "nfe_backward": metrics["nfe_backward"]}
    named |= {"seconds": metrics["seconds"], "asr_oracle": metrics["asr_oracle"]}
    for control, entry in metrics["controls"].items():
        value = entry["auroc"]
        named[f"control_{control}_auroc"] = value["value"] if isinstance(value, Mapping) else value
    return {name: value for name, value in named.items() if value is not None}


def mirror(
    folder: Path,
    metrics: Mapping[str, Any],
    config: Mapping[str, Any],
    options: LoggerOptions,
    outputs: Path,
) -> bool:
    """Send the cell stored in `folder` to W&B under its own key; True when it was recorded.

    A cell sent twice updates the same W&B run: the run id is the cell's key.
    """
    mode = mode_of(options)
    if mode == "disabled":
        return False
    import pandas as pd
    import wandb

    attack, _, key = folder.name.rpartition("-")
    run = None
    try:
        run = wandb.init(
            project=options.project,
            entity=options.entity,
            id=key,
            name=f"{attack} {key[:6]}",
            group=folder.parent.parent.name,
            job_type="attack",
            tags=[attack, str(config["data"]["name"])],
            config=dict(config),
            dir=str(outputs),
            mode=mode,  # type: ignore[arg-type]
            resume="allow",
            settings=wandb.Settings(silent=True, init_timeout=30),
        )
        roc = pd.read_parquet(folder / "roc.parquet")[["fpr", "tpr"]]
        table = wandb.Table(dataframe=roc)
        run.log({**flat(metrics), "roc": wandb.plot.line(table, "fpr", "tpr", title="ROC")})
        return True
    except Exception as error:
        print(f"W&B: {error}. The run itself is complete in {folder}.", file=sys.stderr)
        return False
    finally:
        if run is not None:
            run.finish()
