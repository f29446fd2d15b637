"""`python -m mia_bench.dashboard`: without a key both pages are files."""

from __future__ import annotations

import json
import socket

import pytest

from mia_bench.dashboard import main
from mia_bench.storage.index import run_at
from mia_bench.tracking.records import attack_record

# the library itself still uses what pydantic has deprecated
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


@pytest.fixture(autouse=True)
def no_network(monkeypatch, tmp_path):
    """No key, and no way out."""
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "none"))

    def refuse(*_):
        raise AssertionError("a connection was tried")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


@pytest.fixture
def records(store_cell, tmp_path):
    runs = [store_cell(tmp_path, a, t * 16, seed=s) for a, t, s in CELLS]
    return [attack_record(run_at(run)) for run in runs]


CELLS = (("clid", "a", 0), ("clid", "b", 1), ("loss", "a", 0))


def test_without_a_key_both_are_files(records, tmp_path, capsys):
    assert records
    main([f"paths.outputs={tmp_path}", "entity=team"])
    assert "nothing was sent" in capsys.readouterr().out
    folder = tmp_path / "reports" / "dashboard"
    assert json.loads((folder / "report.json").read_text())
    assert json.loads((folder / "workspace.json").read_text())


def test_nothing_to_show(tmp_path, capsys):
    with pytest.raises(SystemExit):
        main([f"paths.outputs={tmp_path}"])
    assert "no finished run" in capsys.readouterr().err
