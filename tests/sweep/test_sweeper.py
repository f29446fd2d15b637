"""Real small sweeps in processes of their own: planned once, failures kept, nothing repeated."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from album import make_album
from omegaconf import OmegaConf

from mia_bench.execution.run import failure_of
from mia_bench.storage.failures import read_failure, record_failure
from mia_bench.sweep.plan import Job
from mia_bench.sweep.sweeper import _end, _launch, heading
from mia_bench.utils.errors import MiaError


@pytest.fixture(scope="module")
def sweep(run_python, small_overrides):
    """sweep(outputs, *arguments): the finished process of one small multirun."""

    def run(outputs: Path, *arguments: str):
        command = ["-m", "mia_bench", "-m", *small_overrides, f"paths.outputs={outputs}"]
        return run_python(*command, *arguments, check=False)

    return run


@pytest.fixture(scope="module")
def sweep_here(typed, small_overrides):
    """sweep_here(outputs, *arguments): the same, in this process."""

    def run(outputs: Path, *arguments: str):
        return typed("-m", *small_overrides, f"paths.outputs={outputs}", *arguments)

    return run


AXES = ("attack=loss", "finetune.lr=0.001,1e+30", "logger=wandb", "eval.base_rows=[]")


@pytest.fixture(scope="module")
def broken(sweep, encoded, tmp_path_factory):
    """A sweep of two cells; the fine-tune of one diverges, which nobody can know beforehand."""
    outputs = encoded(tmp_path_factory.mktemp("broken"))
    return outputs, sweep(outputs, *AXES)


@pytest.mark.long
def test_the_plan_comes_once_and_first(broken):
    _, done = broken
    assert done.stdout.startswith("sweep   2 jobs, 2 to run\nruns    0 of 2 done\nmodels  4 to")
    assert done.stdout.count("to fine-tune, 16 steps") == 1
    assert done.stdout.count("job 1 of 2: finetune.lr=0.001") == 1


@pytest.mark.long
def test_a_failed_cell_is_recorded_and_the_others_go_on(broken):
    outputs, done = broken
    assert done.returncode == 1
    assert "1 of 2 jobs failed" in done.stderr
    assert len(list(outputs.glob("runs/*/*/loss-*/manifest.json"))) == 1
    (record,) = (outputs / "failures").glob("*.json")
    failure = read_failure(record)
    assert "the training loss became" in failure.first_line
    assert "Traceback" in failure.traceback
    assert "finetune.lr=1e+30" in failure.overrides
    assert "FAILED  finetune.lr=1e+30: the training loss became" in done.stdout


@pytest.mark.long
def test_models_are_built_once(broken):
    outputs, _ = broken
    manifests = [json.loads(p.read_text()) for p in outputs.glob("targets/*/manifest.json")]
    assert sorted(m["kind"] for m in manifests) == ["shadow", "target"]


@pytest.mark.long
def test_a_manifest_holds_the_command_of_its_own_job(broken):
    outputs, _ = broken
    (manifest,) = outputs.glob("runs/*/*/loss-*/manifest.json")
    command = json.loads(manifest.read_text())["command"]
    assert "finetune.lr=0.001" in command
    assert "-m" not in command


@pytest.mark.long
def test_every_run_of_the_sweep_has_its_own_id_on_wandb(broken):
    outputs, done = broken
    assert done.stdout.count("no API key") == 1
    (run,) = outputs.glob("runs/*/*/loss-*[0-9a-f]/")
    models = {p.parent.name for p in outputs.glob("targets/*/manifest.json")}
    logs = [p.stem[4:] for p in (outputs / "wandb").glob("offline-run-*/run-*.wandb")]
    report = f"report-{run.parent.parent.name}"
    assert sorted(logs) == sorted([run.name.partition("-")[2], *models, report])


@pytest.mark.long
def test_what_is_finished_is_not_run_again(broken, sweep_here):
    outputs, _ = broken
    done = sweep_here(outputs, *AXES, "plan_only=true")
    assert done.returncode == 0, done.stderr
    assert "runs    1 of 2 done" in done.stdout
    assert "#-   finetune.lr=0.001: done" in done.stdout
    assert "job 1" not in done.stdout
    (run,) = outputs.glob("runs/*/*/loss-*[0-9a-f]/")
    runs = [run.relative_to(outputs).as_posix()]
    past = record_failure(outputs, failure_of(MiaError("before another command made it"), runs, []))
    again = sweep_here(outputs, "attack=loss", "finetune.lr=0.001", "seed=0,0", "eval.base_rows=[]")
    assert "sweep   2 jobs, 0 to run" in again.stdout
    assert again.stdout.count("   found") == 2
    assert again.returncode == 0
    assert not past.exists()


@pytest.mark.long
def test_a_job_that_cannot_be_planned_is_in_the_status_until_it_can(sweep_here, tmp_path, typed):
    """The other jobs go on; the record goes when the same job can be planned."""
    album = make_album(tmp_path / "album", 70)
    gone = album.rename(tmp_path / "gone")
    outputs = tmp_path / "outputs"
    words = ["attack=loss", "eval.base_rows=[]", "eval.blind_rows=false", "finetune.steps=1"]
    words += [f"data.source.root={album},{gone}", "data=imagefolder"]
    done = sweep_here(outputs, *words)
    assert done.returncode == 1
    assert "1 of 2 jobs failed" in done.stderr
    assert len(list(outputs.glob("runs/*/*/loss-*/manifest.json"))) == 1
    said = typed("status", f"paths.outputs={outputs}").stdout
    assert f"{album} is not a folder" in said
    assert f"data.source.root={album}" in said
    assert "  mia-bench trainer=cpu" in said
    album.symlink_to(gone)
    assert sweep_here(outputs, *words).returncode == 0
    assert not list((outputs / "failures").glob("*.json"))


def test_every_job_of_a_sweep_is_carried_out(sweep_here, trained, tmp_path):
    """On models that are there: a sweep in this process, in seconds."""
    outputs = trained(tmp_path / "outputs")
    models = set(outputs.glob("targets/*"))
    done = sweep_here(outputs, "attack=loss,sima", "eval.base_rows=[]", "eval.resamples=100")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("sweep   2 jobs, 2 to run")
    made = [path.parent.name for path in outputs.glob("runs/*/*/*/manifest.json")]
    assert sorted(name.partition("-")[0] for name in made) == ["loss", "sima"]
    assert set(outputs.glob("targets/*")) == models


@pytest.mark.first_look
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["attack=clid,los"], "Did you mean 'loss'"),
        (["attack=loss,mc", "data.sizes.target_member=9999"], "data has 1,433"),
    ],
)
def test_what_cannot_run_is_refused_before_anything_runs(sweep_here, tmp_path, arguments, message):
    done = sweep_here(tmp_path, *arguments)
    assert done.returncode == 1
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "targets").exists()


@pytest.mark.long
def test_parallel_jobs_share_one_build_of_their_target(broken, sweep):
    outputs, _ = broken
    before, halves = (set(outputs.glob(f"targets/{g}")) for g in ("*/manifest.json", "*.tmp"))
    axes = "attack=loss,pia", "hydra/launcher=parallel", "eval.base_rows=[]", "finetune.seed=3"
    done = sweep(outputs, *axes)
    assert done.returncode == 0, done.stderr
    assert "separate jobs" in done.stdout
    assert "FAILED" not in done.stdout
    made = set(outputs.glob("targets/*/manifest.json")) - before
    assert sorted(json.loads(p.read_text())["kind"] for p in made) == ["shadow", "target"]
    assert set(outputs.glob("targets/*.tmp")) == halves
    (target,) = {p.parent.name for p in made} & {p.name for p in outputs.glob("runs/*")}
    assert len(list(outputs.glob(f"runs/{target}/4/*/manifest.json"))) == 2


@pytest.mark.slow
def test_submitit_runs_the_same_sweep(sweep, tmp_path):
    done = sweep(tmp_path, "attack=loss,pia", "hydra/launcher=slurm_local", "eval.base_rows=[]")
    assert done.returncode == 0, done.stderr
    assert len(list(tmp_path.glob("runs/*/*/*/manifest.json"))) == 2
    assert "FAILED" not in done.stdout


def test_a_job_of_another_sweeper_still_has_a_heading(tmp_path):
    assert heading(tmp_path, 2) == "job 3"
    (tmp_path / "plan.json").write_text('{"jobs": ["a=1", "a=2"]}')
    assert heading(tmp_path, 1) == "job 2 of 2: a=2"
    assert heading(tmp_path, 5) == "job 6"


class Dying:
    """A launcher whose worker was killed."""

    def launch(self, job_overrides, initial_job_idx):
        raise RuntimeError("a worker was terminated")


def test_a_killed_worker_still_gets_the_table(tmp_path, store_cell, capsys):
    config = OmegaConf.create({"hydra": {"sweep": {"dir": str(tmp_path / "sweep")}}})
    done = Job((), tmp_path, runs=(("clid", store_cell(tmp_path)),), finished=True)
    killed = Job(("seed=1",), tmp_path, runs=(("pia", tmp_path / "runs" / "a" / "1" / "pia-0"),))
    stopped = _launch(config, Dying(), [killed], ["seed"])
    with pytest.raises(MiaError, match=r"a worker was terminated.*goes on from there"):
        _end([done, killed], [killed], ["seed"], stopped)
    said = capsys.readouterr().out
    assert "seed=1: ended without a message" in said
    assert heading(tmp_path / "sweep", 0) == "job 1 of 1: seed=1"
