"""Completion: commands, their words and keys by us, overrides by Hydra."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from mia_bench.cli.completion import complete


@pytest.mark.parametrize(
    ("line", "ours", "hydras"),
    [
        ("mia-bench rep", ["report"], "mia-bench rep"),
        ("mia-bench attack=cl", [], "mia-bench attack=cl"),
        ("mia-bench attack=clid see", [], "mia-bench attack=clid see"),
        ("mia-bench run attack=cl", [], "mia-bench attack=cl"),
        ("mia-bench run -m attack=cl", [], "mia-bench -m attack=cl"),
        ("mia-bench list mo", ["models"], None),
        ("mia-bench report in", ["intervals="], None),
        ("mia-bench report intervals=", ["intervals=true", "intervals=false"], None),
        ("mia-bench help tra", ["trajectory"], None),
        ("mia-bench seeds 0 attack=cl", [], "mia-bench attack=cl"),
        ("mia-bench data ex", ["export="], "mia-bench ex"),
    ],
)
def test_who_completes_what(line, ours, hydras):
    assert complete(line) == (ours, hydras)


def query(line: str) -> list[str]:
    """Choices the shell is given for `line`, by the program itself."""
    done = subprocess.run(
        [sys.executable, "-m", "mia_bench", "-sc", "query=bash"],
        env={**os.environ, "COMP_LINE": line, "COMP_POINT": str(len(line))},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.split()


@pytest.mark.first_look
@pytest.mark.parametrize(
    ("line", "choice"),
    [
        ("mia-bench attack=cli", "attack=clid"),
        ("mia-bench run finetune.st", "finetune.steps="),
        ("python -m mia_bench model=sd", "model=sd15"),
        ("mia-bench verify a", "all="),
    ],
)
def test_the_shell_gets_choices(line, choice):
    assert choice in query(line)


@pytest.mark.long
def test_the_script_is_for_the_console_script_however_it_was_asked_for(run_python):
    script = run_python("-m", "mia_bench", "--shell-completion", "install=bash").stdout
    assert script.splitlines()[-1].endswith("-F hydra_bash_completion mia-bench")
    removed = run_python("-m", "mia_bench", "--shell-completion", "uninstall=bash").stdout
    assert "unset hydra_bash_completion" in removed


@pytest.mark.long
def test_bash_completes_a_line(tmp_path):
    """The installed function, called as bash does, with a console script on its path."""
    program = tmp_path / "mia-bench"
    program.write_text(
        f"#!{sys.executable}\nfrom mia_bench.cli.dispatch import main\nmain()\n", encoding="utf-8"
    )
    program.chmod(0o755)
    typed = "mia-bench data=openm"
    script = f"""
eval "$(mia-bench --shell-completion install=bash)"
COMP_LINE="{typed}" COMP_POINT={len(typed)} COMP_CWORD=1
hydra_bash_completion
printf "%s\\n" "${{COMPREPLY[@]}}"
"""
    done = subprocess.run(
        ["bash", "-c", script],
        env={**os.environ, "PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == ["data=openmoji"]
