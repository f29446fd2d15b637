"""The command line: one message for a mistake, a traceback on request, help."""

from __future__ import annotations

import pytest


@pytest.mark.first_look(3)
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["attack=clidd"], "no attack=clidd. Did you mean 'clid'"),
        (["atack=clid"], "Did you mean 'attack'"),
        (["attack.clid.alpah=0.3"], "Did you mean 'attack.clid.alpha'"),
        (["finetune.stesp=3"], "Did you mean 'finetune.steps'"),
        (["finetune.steps=many"], "finetune.steps"),
        (["model.path=/nowhere"], "use model=tiny"),
        (["data.sizes.target_member=100000"], "data has 1,433"),
        (["-m", "trainer.devices=2", "attack=loss,mc"], "one device per job"),
        (["attack=loss,mc"], "'attack=[loss,mc]'"),
        (["--finetune.stesp=3"], "Did you mean 'finetune.steps'"),
    ],
)
def test_mistakes_end_with_one_message_and_no_traceback(typed, tmp_path, arguments, message):
    done = typed(*arguments, f"paths.outputs={tmp_path}")
    assert done.returncode == 1
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert "Error executing job" not in done.stderr  # a line of Hydra's, before ours


@pytest.mark.first_look
@pytest.mark.parametrize("outputs", ["/proc/1", "/dev/null/x", "/proc/self/no"])
def test_outputs_that_cannot_be_there(typed, outputs):
    done = typed("attack=loss", f"paths.outputs={outputs}")
    assert done.returncode == 1
    assert "paths.outputs" in done.stderr
    assert "Traceback" not in done.stderr


def test_keys_may_be_written_as_sweep_agents_of_wandb_do(monkeypatch):
    from mia_bench.cli import run

    given = ["--finetune.lr=0.1", "-m", "--cfg=job", "--config-dir=x", "seed=1", "--attack=[loss]"]
    monkeypatch.setattr(run, "_run_hydra", lambda: None)
    monkeypatch.setattr("sys.argv", ["mia-bench"])
    run.main(given)
    # overrides in one row: Hydra's parser takes no second one behind a flag
    row, flags = (
        ["finetune.lr=0.1", "seed=1", "attack=[loss]"],
        ["-m", "--cfg=job", "--config-dir=x"],
    )
    assert run.sys.argv[1:] == [*row, *flags]


@pytest.mark.long
def test_debug_shows_the_traceback(run_python, tmp_path):
    """In a process of its own, whose exit status a shell would see."""
    arguments = ["attack=loss", "model.path=/nowhere", "debug=true", f"paths.outputs={tmp_path}"]
    done = run_python("-m", "mia_bench", *arguments, check=False)
    assert done.returncode == 1
    assert "Traceback" in done.stderr


def test_outputs_that_cannot_be_written(typed, tmp_path):
    file = tmp_path / "file"
    file.write_text("in the way")
    done = typed("attack=loss", f"paths.outputs={file}/x")
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "paths.outputs" in done.stderr


def test_hydras_page_lists_the_groups(typed):
    said = typed("run", "--help").stdout
    assert said.startswith("mia-bench run is powered by Hydra.")
    for group in ("attack", "model", "data", "mitigation", "experiment"):
        assert group in said


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--atack", "clid"], "Did you mean 'attack'"),
        (["--dry-run"], "Did you mean plan_only=true?"),
        (["-v"], "there is no flag '-v'"),
    ],
)
def test_a_switch_that_is_no_key_is_one_message(typed, words, said):
    done = typed("run", *words)
    assert done.returncode == 1
    assert said in done.stderr
    assert done.stderr.strip().count("\n") == 0
