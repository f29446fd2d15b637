"""What is sent to W&B: every finished run, and no other."""

from __future__ import annotations

import pytest

from mia_bench.tracking import mirror
from mia_bench.tracking.sync import entries


@pytest.fixture(autouse=True)
def fresh(monkeypatch):
    monkeypatch.setattr(mirror, "_unreachable", [])
    monkeypatch.delenv("WANDB_API_KEY", raising=False)


def test_unfinished_runs_are_named_and_left_out(store_cell, tmp_path, capsys):
    good, bad = store_cell(tmp_path), store_cell(tmp_path, attack="loss", target="c" * 16)
    (bad / "metrics.json").write_text('{"auroc"')
    (tmp_path / "runs" / "d" / "300" / "pia-1.tmp").mkdir(parents=True)
    identifiers = [entry.id for entry in entries(tmp_path)]
    assert good.name[-16:] in identifiers
    assert bad.name[-16:] not in identifiers
    assert "left out" in capsys.readouterr().err
