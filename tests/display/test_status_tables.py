"""`python -m mia_bench.status` on whole, half and broken outputs, small and large."""

from __future__ import annotations

import shutil
import time

import pytest
from filelock import FileLock

from mia_bench.execution.run import failure_of
from mia_bench.status import main
from mia_bench.storage.failures import record_failure
from mia_bench.storage.index import bytes_under, models, run_summaries, unfinished_folders
from mia_bench.utils.errors import MiaError


@pytest.fixture
def outputs(store_cell, tmp_path):
    store_cell(tmp_path)
    store_cell(tmp_path, attack="loss")
    return tmp_path


def test_everything_is_shown(outputs, capsys):
    record_failure(
        outputs, failure_of(MiaError("[b]too few\nrows"), ["runs/x"], ["attack=pia", "seed=1"])
    )
    main([f"paths.outputs={outputs}"])
    said = capsys.readouterr().out
    assert "target   300     10.0     cpu" in said
    assert "tiny openmoji none seed 0" in said
    assert "clid" in said
    assert "too few" in said
    assert "rows" not in said.partition("failed ")[2].partition("disk")[0]
    assert "python -m mia_bench attack=pia seed=1" in said
    assert "disk: " in said


def test_half_built_folders_and_whether_anyone_is_at_work(outputs):
    targets, features = outputs / "targets", outputs / "features" / "m" / "300"
    (targets / "t.tmp").mkdir(parents=True)
    (targets / "t.tmp" / "train.csv").write_text("step,epoch\n100.0,2\n200.0,4\n")
    (features / "clid-1.tmp" / "shards").mkdir(parents=True)
    (features / "clid-1.tmp" / "shards" / "000-a.parquet").touch()
    with FileLock(targets / "t.lock"):
        found = {half.folder.name: half for half in unfinished_folders(outputs)}
        assert (found["t.tmp"].progress, found["t.tmp"].alive) == (", step 200", True)
        assert found["clid-1.tmp"].progress == ", 1 shards"
    assert [half.alive for half in unfinished_folders(outputs)] == [False, False]


def test_runs_of_another_version_or_cut_short_are_named(outputs, capsys):
    first, second = sorted((outputs / "runs").glob("*/*/*"))
    (first / "metrics.json").write_text('{"auroc": 0.7}')
    (second / "metrics.json").write_text('{"auroc"')
    (outputs / "targets" / ("a" * 16) / "manifest.json").write_text("{")
    (outputs / "failures").mkdir()
    (outputs / "failures" / "x.json").write_text("{}")
    assert "another version" in run_summaries(outputs)[0].problem
    assert "cannot be read" in run_summaries(outputs)[1].problem
    assert "problem" in models(outputs)[0][1]
    main([f"paths.outputs={outputs}"])
    assert "failure: cannot read" in capsys.readouterr().out


def test_ten_thousand_runs_take_seconds(outputs, capsys):
    """2,000 here, against a fifth of the time; metrics.json alone is read."""
    (first, *_) = (outputs / "runs").glob("*/*/*")
    for i in range(2000):
        folder = outputs / "runs" / f"{i // 50:016x}" / "300" / f"loss-{i:016x}"
        folder.mkdir(parents=True)
        for name in ("metrics.json", "manifest.json"):
            shutil.copyfile(first / name, folder / name)
    began = time.process_time()
    main([f"paths.outputs={outputs}"])
    assert time.process_time() - began < 2
    assert "2,002 in all" in capsys.readouterr().out


def test_words_and_missing_folders(tmp_path, capsys):
    for word, said in (
        ("outputs", "paths.outputs"),
        (f"paths.outputs={tmp_path / 'none'}", "was run"),
    ):
        with pytest.raises(SystemExit):
            main([word])
        assert said in capsys.readouterr().err
    main([f"paths.outputs={tmp_path}"])
    assert "nothing yet" in capsys.readouterr().out


def test_disk_use_does_not_follow_links(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "x").write_bytes(b"12345")
    (tmp_path / "a" / "loop").symlink_to(tmp_path)
    assert 5 <= bytes_under(tmp_path / "a") < 5 + 300
    assert bytes_under(tmp_path / "none") == 0
