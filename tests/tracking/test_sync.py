"""`python -m mia_bench.sync`: everything finished, once."""

from __future__ import annotations

import pytest

from mia_bench.sync import main
from mia_bench.tracking import mirror
from mia_bench.tracking.options import options_of
from mia_bench.tracking.sync import entries
from mia_bench.utils.errors import MiaError


@pytest.fixture(autouse=True)
def fresh(monkeypatch):
    monkeypatch.setattr(mirror, "_unreachable", [])
    monkeypatch.delenv("WANDB_API_KEY", raising=False)


def runs(outputs):
    found = (outputs / "wandb").glob("offline-run-*/run-*.wandb")
    return sorted(path.stem.removeprefix("run-") for path in found)


def test_twice_gives_no_duplicates_and_later_cells_are_added(store_cell, tmp_path, capsys):
    run = store_cell(tmp_path)
    words = [f"paths.outputs={tmp_path}", "wandb=offline"]
    for said in ("3 sent", "0 sent"):
        with pytest.raises(SystemExit) as end:
            main(words)
        assert end.value.code == 0
        assert said in capsys.readouterr().out
    once = runs(tmp_path)
    assert once == sorted([run.name[-16:], "a" * 16, "report-" + "a" * 16])
    other = store_cell(tmp_path, attack="loss")
    with pytest.raises(SystemExit):
        main(words)
    added = sorted(set(runs(tmp_path)) - set(once))
    assert added == [other.name[-16:]]  # the report is the same run, shown again
    assert runs(tmp_path).count("report-" + "a" * 16) == 2


def test_half_written_runs_are_named_and_left_out(store_cell, tmp_path, capsys):
    good, bad = store_cell(tmp_path), store_cell(tmp_path, attack="loss", target="c" * 16)
    (bad / "metrics.json").write_text('{"auroc"')
    (tmp_path / "runs" / "d" / "300" / "pia-1.tmp").mkdir(parents=True)
    found = [entry.id for entry in entries(tmp_path)]
    assert good.name[-16:] in found
    assert bad.name[-16:] not in found
    assert "left out" in capsys.readouterr().err


def test_words(store_cell, tmp_path):
    store_cell(tmp_path)
    words = [f"paths.outputs={tmp_path}", "logger.project=mine", "entity=us", "again=true"]
    options = options_of(words, "usage")
    assert (options.logger.project, options.logger.entity, options.again) == ("mine", "us", True)
    assert options.logger.wandb == "online"
    with pytest.raises(MiaError, match="Did you mean 'project'"):
        options_of(["projct=x"], "usage")


def test_no_outputs_is_one_message(tmp_path, capsys):
    with pytest.raises(SystemExit) as end:
        main([f"paths.outputs={tmp_path / 'none'}"])
    assert end.value.code == 1
    assert "nothing was run" in capsys.readouterr().err
