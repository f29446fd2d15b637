"""Text for a person: plain, results to stdout and errors to stderr, bars that go away."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

from mia_bench.utils import terminal
from mia_bench.utils.terminal import echo, progress, told_of_ctrl_c, tracked


def test_say_writes_plain_text(capsys: pytest.CaptureFixture[str]) -> None:
    echo("out \x1b[1m")
    echo("wrong \x1b[1m", error=True)
    assert capsys.readouterr() == ("out \\x1b[1m\n", "wrong \\x1b[1m\n")


def test_progress_gives_the_items_and_leaves_no_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert list(progress(range(3), "hashing")) == [0, 1, 2]
    output = capsys.readouterr()
    assert output.out == ""
    assert not output.err.endswith("\n")


def test_a_bar_appears_on_a_terminal_alone_and_only_where_it_takes_long(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def said(silent_seconds: float, is_terminal: bool) -> str:
        monkeypatch.setattr(terminal, "SILENT_SECONDS", silent_seconds)
        monkeypatch.setattr(sys.stderr, "isatty", lambda: is_terminal, raising=False)
        assert list(tracked(iter("abc"), "listing pictures", "file")) == ["a", "b", "c"]
        out, err = capsys.readouterr()
        assert out == ""
        return err

    assert "listing pictures" in said(0.0, is_terminal=True)
    assert said(0.0, is_terminal=False) == ""
    assert "listing pictures" not in said(1e6, is_terminal=True)


def test_a_reader_that_has_gone_ends_it_without_a_traceback() -> None:
    """As `... | head -1` does."""
    program = "from mia_bench.utils.terminal import echo\nwhile True: echo('a line')"
    with subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == b"a line\n"
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 1


@pytest.mark.parametrize("by_lightning", [False, True])
def test_ctrl_c_ends_a_command_with_one_line_and_by_the_signal(by_lightning: bool) -> None:
    """Ended by the signal, and not with a status of its own: a loop of a shell ends too."""
    stop = "os.kill(os.getpid(), signal.SIGINT)"
    if by_lightning:
        stop = f"\n  try: {stop}; time.sleep(9)\n  except KeyboardInterrupt: sys.exit(1)"
    program = (
        "import os, signal, sys, time\nfrom mia_bench.utils.terminal import told_of_ctrl_c\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # ignored in the background
        f"with told_of_ctrl_c():\n with told_of_ctrl_c():\n  {stop}\n  time.sleep(9)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert done.stderr == (
        "\nstopped by Ctrl-C. Run the same command again: it goes on from what is finished.\n"
    )
    assert done.returncode == -signal.SIGINT


def test_an_end_that_is_no_ctrl_c_is_left_alone(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended, told_of_ctrl_c():
        sys.exit(3)
    assert ended.value.code == 3
    assert capsys.readouterr().err == ""
