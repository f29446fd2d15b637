"""command.py: what is recorded is what a person typed."""

from __future__ import annotations

import pytest

from mia_bench.storage.command import current_command, recorded_as


def fail(command: list[str]) -> None:
    with recorded_as(command):
        assert current_command() == command
        raise ValueError("job")


def test_the_innermost_command_counts_and_an_error_ends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["/some/where/script.py", "a=1"])
    assert current_command() == ["script.py", "a=1"]
    with recorded_as(["mia-bench", "-m", "seed=0,1"]):
        with pytest.raises(ValueError, match="job"):
            fail(["mia-bench", "seed=0"])
        assert current_command() == ["mia-bench", "-m", "seed=0,1"]
    assert current_command() == ["script.py", "a=1"]


def test_what_is_returned_is_a_copy() -> None:
    with recorded_as(["mia-bench"]):
        current_command().append("x")
        assert current_command() == ["mia-bench"]
