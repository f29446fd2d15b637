"""`python -m mia_bench.sync`: everything finished, once."""

from __future__ import annotations

import pytest

from mia_bench.sync import main
from mia_bench.tracking import mirror


@pytest.fixture(autouse=True)
def fresh(monkeypatch):
    monkeypatch.setattr(mirror, "_unreachable", [])
    monkeypatch.delenv("WANDB_API_KEY", raising=False)


def runs(outputs):
    folders = (outputs / "wandb").glob("offline-run-*/run-*.wandb")
    return sorted(path.stem.removeprefix("run-") for path in folders)


def test_twice_gives_no_duplicates_and_later_cells_are_added(store_cell, tmp_path, capsys):
    run = store_cell(tmp_path)
    words = [f"paths.outputs={tmp_path}", "wandb=offline"]
    for message in ("3 recorded offline, 0 not recorded offline", "0 recorded offline"):
        with pytest.raises(SystemExit) as end:
            main(words)
        assert end.value.code == 0
        said = capsys.readouterr().out
        assert message in said
        assert "sent" not in said
    once = runs(tmp_path)
    assert once == sorted([run.name[-16:], "a" * 16, "report-" + "a" * 16])
    other = store_cell(tmp_path, attack="loss")
    with pytest.raises(SystemExit):
        main(words)
    added = sorted(set(runs(tmp_path)) - set(once))
    assert added == [other.name[-16:]]  # the report is the same run, shown again
    assert runs(tmp_path).count("report-" + "a" * 16) == 2


def test_no_outputs_is_one_message(tmp_path, capsys):
    with pytest.raises(SystemExit) as end:
        main([f"paths.outputs={tmp_path / 'none'}"])
    assert end.value.code == 1
    assert "nothing was run" in capsys.readouterr().err
