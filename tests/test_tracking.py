"""W&B is a mirror: real offline runs, distinct ids, and failures that stop nothing."""

from __future__ import annotations

import pandas as pd
import pytest

from mia_bench.config import LoggerOptions
from mia_bench.errors import MiaError
from mia_bench.tracking import flat, mirror, mode_of

ENTRY = {"value": 0.8, "lo": 0.7, "hi": 0.9}
METRICS = {
    "auroc": ENTRY,
    "asr": ENTRY,
    "tpr_calibrated": ENTRY,
    "realised_fpr": ENTRY,
    "tpr_at_fpr": {"0.01": ENTRY, "0.001": {"value": None, "lo": None, "hi": None}},
    "asr_oracle": 0.75,
    "nfe_forward": 15.0,
    "nfe_backward": 0.0,
    "seconds": 3.0,
    "controls": {"base": {"auroc": ENTRY}, "blind_image": {"auroc": 0.5}},
}


@pytest.fixture
def cell(tmp_path):
    folder = tmp_path / "runs" / "target" / "300" / "clid-0123456789abcdef"
    folder.mkdir(parents=True)
    pd.DataFrame({"fpr": [0.0, 1.0], "tpr": [0.0, 1.0]}).to_parquet(folder / "roc.parquet")
    return folder


def test_names_are_stable_and_valid():
    named = flat(METRICS)
    assert named["tpr_at_fpr_0_01_lo"] == 0.7
    assert named["control_base_auroc"] == 0.8
    assert named["control_blind_image_auroc"] == 0.5
    assert "tpr_at_fpr_0_001" not in named
    assert all(name.replace("_", "a").isalnum() for name in named)


def test_offline_runs_carry_the_key_and_survive_being_sent_twice(cell, tmp_path, monkeypatch):
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    config = {"data": {"name": "openmoji"}}
    options = LoggerOptions(wandb="offline")
    assert mirror(cell, METRICS, config, options, tmp_path)
    assert mirror(cell, METRICS, config, options, tmp_path)
    stored = list((tmp_path / "wandb").glob("offline-run-*"))
    assert {path.name.rpartition("-")[2] for path in stored} == {"0123456789abcdef"}


def test_online_without_a_key_is_offline_and_says_so(monkeypatch, tmp_path, capsys):
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "none"))
    assert mode_of(LoggerOptions(wandb="online")) == "offline"
    assert "offline" in capsys.readouterr().out


def test_a_failing_wandb_is_reported_and_nothing_else(cell, tmp_path, monkeypatch, capsys):
    import wandb

    def broken(**_):
        raise OSError("no network")

    monkeypatch.setattr(wandb, "init", broken)
    options = LoggerOptions(wandb="offline")
    assert not mirror(cell, METRICS, {"data": {"name": "x"}}, options, tmp_path)
    assert "complete in" in capsys.readouterr().err


def test_disabled_touches_nothing(cell, tmp_path):
    assert not mirror(cell, METRICS, {}, LoggerOptions(), tmp_path)
    assert not (tmp_path / "wandb").exists()


def test_an_unknown_mode_is_refused():
    with pytest.raises(MiaError, match="online, offline, disabled"):
        mode_of(LoggerOptions(wandb="sometimes"))
