"""The first word names a command; everything else belongs to a run."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import types
from importlib import import_module

import pytest

from mia_bench.cli import dispatch
from mia_bench.cli.dispatch import COMMANDS, main


@pytest.fixture
def started(monkeypatch):
    """(command, words) of everything that `main` starts, which does not run."""
    calls = []
    monkeypatch.setattr(dispatch, "start", lambda name, words: calls.append((name, list(words))))
    return calls


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([], ("run", [])),
        (["attack=clid", "seed=1"], ("run", ["attack=clid", "seed=1"])),
        (["run", "attack=clid"], ("run", ["attack=clid"])),
        (["run", "--help"], ("run", ["--help"])),
        (["-m", "attack=clid,loss"], ("run", ["-m", "attack=clid,loss"])),
        (["--cfg", "job"], ("run", ["--cfg", "job"])),
        (["--multirun", "seed=1,2"], ("run", ["--multirun", "seed=1,2"])),
        (["-cd", "my/conf", "attack=x"], ("run", ["-cd", "my/conf", "attack=x"])),
        (["+new=1"], ("run", ["+new=1"])),
        (["~eval.utility"], ("run", ["~eval.utility"])),
        (["report", "name=x"], ("report", ["name=x"])),
        (["dataset-test", "a", "b"], ("dataset-test", ["a", "b"])),
        (["help", "seeds"], ("seeds", ["--help"])),
    ],
)
def test_who_is_started_with_what(started, words, expected):
    main(words)
    assert started == [expected]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["reprot"], "no command 'reprot'. Did you mean 'report'?"),
        (["dataset_test"], "Did you mean 'dataset-test'?"),
        (["help", "seed"], "Did you mean 'seeds'?"),
        (["clid"], "Did you mean attack=clid?"),
        (["CLiD"], "Did you mean attack=clid?"),
        (["plan"], "Did you mean `mia-bench plan_only=true`?"),
        (["attack", "clid"], "Did you mean attack=clid?"),
        (["model"], "Did you mean model=...?"),
        (["plan_only"], "'plan_only' has no value: write plan_only=..."),
        (["eval.seed", "3"], "'eval.seed' has no value: write eval.seed=3"),
        (["xyzzy"], "Known: audit, bench, dashboard"),
        (["../../etc/passwd"], "no command '../../etc/passwd'"),
    ],
)
def test_a_word_that_is_no_command_gets_the_nearest_one(started, capsys, words, said):
    with pytest.raises(SystemExit) as end:
        main(words)
    assert end.value.code == 2
    assert started == []
    printed = capsys.readouterr()
    assert said in printed.err
    assert printed.err.count("\n") == 1
    assert printed.out == ""


def test_the_version_is_that_of_the_package(started, capsys):
    main(["--version"])
    assert started == []
    assert re.fullmatch(r"mia_bench \d+\.\d+\.\d+\n", capsys.readouterr().out)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_an_entry_and_says_the_same_name(name):
    module = import_module(COMMANDS[name])
    assert isinstance(module, types.ModuleType)
    assert callable(module.main)
    assert module.COMMAND.name == name
    assert module.COMMAND.doc == module.__doc__


@pytest.mark.parametrize("name", [name for name in COMMANDS if name != "run"])
def test_every_help_has_one_style(name, capsys):
    with pytest.raises(SystemExit) as end:
        main([name, "--help"])
    assert end.value.code == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith(f"usage: mia-bench {name}")
    assert lines[1].startswith("   or: python -m mia_bench")
    assert lines[3].rstrip("?.") != lines[3]
    assert "examples:" in lines
    assert max(map(len, lines)) <= 80


@pytest.mark.parametrize("name", [name for name in COMMANDS if name != "run"])
def test_an_unknown_switch_is_one_message(name, capsys):
    with pytest.raises(SystemExit) as end:
        main([name, "--hlep"])
    assert end.value.code == 1
    assert "no switch '--hlep'. Did you mean '--help'?" in capsys.readouterr().err


def test_help_loads_nothing_heavy():
    code = (
        "import sys; from mia_bench.cli.dispatch import main; main(['--help']);"
        "heavy = {'torch', 'hydra', 'numpy', 'pandas', 'rich', 'yaml'} & sys.modules.keys();"
        "print(sorted(heavy))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_both_spellings_of_a_command_do_the_same(run_python, tmp_path):
    words = ["status", f"paths.outputs={tmp_path / 'none'}"]
    through = run_python("-m", "mia_bench", *words, check=False)
    alone = run_python("-m", "mia_bench.status", *words[1:], check=False)
    assert (through.returncode, through.stderr) == (alone.returncode, alone.stderr)
    assert (through.returncode, through.stderr.count("\n")) == (1, 1)


@pytest.mark.long
def test_flags_of_hydra_reach_it(run_python):
    shown = run_python("-m", "mia_bench", "run", "--cfg", "job", "attack=loss", "seed=9").stdout
    assert "seed: 9" in shown
    assert "mia_bench.attacks.loss.Loss" in shown


@pytest.mark.long
def test_manifests_record_the_command_of_a_run_and_of_a_study(
    typed, small_overrides, encoded, tmp_path
):
    """A trajectory finishes a run that `run` began: each manifest names what wrote it."""
    words = [*small_overrides, "attack=loss", "eval.base_rows=[]", "eval.blind_rows=false"]
    words += ["finetune.save_at=[2]", "eval.utility_images=8", f"paths.outputs={tmp_path}"]
    encoded(tmp_path)
    for study in (["run", *words, "finetune.val_every=20"], ["trajectory", *words]):
        done = typed(*study, "finetune.val_rows=8")
        assert done.returncode == 0, done.stderr
    written = {
        path: json.loads(path.read_text()) for path in tmp_path.glob("runs/*/*/*/manifest.json")
    }
    commands = {path.parents[1].name: m["command"] for path, m in written.items()}
    assert commands["4"][:2] == ["mia-bench", words[0]]
    assert commands["2"][:3] == ["mia-bench", "trajectory", words[0]]
    models = [
        json.loads(p.read_text())["command"] for p in tmp_path.glob("targets/*/manifest.json")
    ]
    assert {tuple(command[:1]) for command in models} == {("mia-bench",)}
