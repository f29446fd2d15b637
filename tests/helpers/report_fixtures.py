"""Runs written as `scoring` writes them, from scores that a test chooses."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

from mia_bench.evaluation.score_table import score_table_metrics
from mia_bench.storage.artifacts import seal
from mia_bench.storage.files import write_json
from mia_bench.storage.hashing import hash_key


def scores(shift: float, seed: int, n: int = 60) -> pd.DataFrame:
    """n members and 2 n others to evaluate, n and n to calibrate on; members lie `shift` higher."""
    rng = np.random.default_rng(seed)
    member = np.repeat([True, False, True, False], [n, 2 * n, n, n])
    role = np.repeat(
        ["target_member", "target_nonmember", "shadow_member", "shadow_nonmember"],
        [n, 2 * n, n, n],
    )
    ids = [f"fake:{i:012x}" for i in range(len(member))]
    return pd.DataFrame(
        {
            "sample_id": ids,
            "group": ids,
            "role": role,
            "is_member": member,
            "score": rng.normal(size=len(member)) + shift * member,
            "calibration": np.arange(len(member)) >= 3 * n,
        }
    )


def config(**changes: Any) -> dict[str, Any]:
    base: dict[str, Any] = {
        "model": {
            "_target_": "mia_bench.models.x.X",
            "path": "bundled:tiny",
            "resolution": 64,
        },
        "data": {
            "name": "openmoji",
            "source": {"_target_": "mia_bench.data.openmoji.OpenMoji"},
            "split_seed": 0,
        },
        "attack": {"clid": {"_target_": "mia_bench.attacks.clid.CLiD"}},
        "mitigation": {},
        "finetune": {"steps": 300, "seed": 0},
        "calibration": {"kind": "shadow"},
        "eval": {"seed": 0, "resamples": 200},
        "seed": 0,
    }
    return base | changes


@pytest.fixture(scope="session")
def write_run() -> Callable[..., Path]:
    """write_run(outputs, attack, shift=1.0, model_key=, step=, table=, controls=, **config).

    Figures are those that follow from the table, as a run writes them, but for `controls` as
    `quiet` gives them.
    """

    def write(
        outputs: Path,
        attack: str = "clid",
        shift: float = 1.0,
        model_key: str = "a" * 16,
        step: str = "300",
        table: pd.DataFrame | None = None,
        controls: dict[str, Any] | None = None,
        access: str = "grey_box",
        metrics: dict[str, Any] | None = None,
        key: str | None = None,
        nfe: float = 15.0,
        **changes: Any,
    ) -> Path:
        cfg = config(**changes)
        table = scores(shift, cfg["seed"]) if table is None else table
        controls = quiet() if controls is None else controls
        if "base" in controls and "score_base" not in table:
            table = table.assign(score_base=np.random.default_rng(9).normal(size=len(table)))
        key = key or hash_key([attack, model_key, step, cfg])
        folder = outputs / "runs" / model_key / step / f"{attack}-{key}"
        folder.mkdir(parents=True)
        (folder / "config.yaml").write_text(yaml.safe_dump(cfg))
        table.to_parquet(folder / "scores.parquet", index=False)
        found = metrics if metrics is not None else _measured(table, controls, cfg)
        extra = {"nfe_forward": nfe, "nfe_backward": 0, "seconds": 3.0, "chosen": {"alpha": 0.5}}
        write_json(folder / "metrics.json", {**found, **extra})
        seal(folder, {"attack": attack, "access": access, "split": "s" * 16})
        return folder

    return write


def _measured(table: pd.DataFrame, controls: dict[str, Any], cfg: dict[str, Any]) -> dict[str, Any]:
    blind = {name: entry for name, entry in controls.items() if name != "base"}
    seed, resamples = cfg["eval"]["seed"], cfg["eval"]["resamples"]
    try:
        metrics = score_table_metrics(table, blind, seed, resamples).metrics
    except Exception:  # a test of scores that cannot be measured; what is stored does not matter
        metrics = score_table_metrics(scores(1.0, 0), blind, 0, 200).metrics
    if controls.get("base"):
        metrics["controls"]["base"] |= controls["base"]
    return metrics


def quiet(p_image: float = 0.4, p_base: float | None = None) -> dict[str, Any]:
    """Controls of a run; the base control as it is measured, but for a `p_base` that is given."""
    base = {} if p_base is None else {"p_value": p_base}
    return {"blind_image": {"auroc": 0.52, "p_value": p_image}, "base": base}


@pytest.fixture(scope="session", name="quiet")
def fixture_quiet() -> Callable[..., dict[str, Any]]:
    """quiet(p_image=0.4, p_base=None): controls of a run."""
    return quiet


@pytest.fixture(scope="session", name="scores")
def fixture_scores() -> Callable[..., pd.DataFrame]:
    """scores(shift, seed, n=60): a scores.parquet."""
    return scores


@pytest.fixture
def reseal() -> Callable[[Path], None]:
    """reseal(folder): hashes of a run whose files a test changed, as if written so."""

    def again(folder: Path) -> None:
        about = json.loads((folder / "manifest.json").read_text())
        kept = {name: about[name] for name in ("attack", "access", "split")}
        seal(folder, kept)

    return again
