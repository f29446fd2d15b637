"""Any command line plans or fails with one clear message; `make fuzz` tries 500 of them."""

from __future__ import annotations

import signal
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from album import make_album
from fuzzing import command_lines

from mia_bench.config.error_messages import explain
from mia_bench.execution.single_run import run_or_plan
from mia_bench.planning.experiment import compose

SECONDS = 30  # for one plan; no value may hang
MOST = 3_000  # characters of a message
BASE = ("plan_only=true", "trainer=cpu", "data=imagefolder")
SIZES = ("target_member=12", "target_nonmember=12", "shadow_member=12", "shadow_nonmember=12")


@pytest.fixture
def outcome(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., str]]:
    """outcome(words): "plan", or the message that a person reads. Anything else is raised."""
    inner = tmp_path / "a/b/c"
    make_album(inner / "album", 60)
    monkeypatch.chdir(inner)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    base = [*BASE, "data.source.root=album", *(f"data.sizes.{size}" for size in SIZES)]

    def late(*_: object) -> None:
        raise TimeoutError(f"no plan within {SECONDS} s")

    before = signal.signal(signal.SIGALRM, late)

    def run(words: Sequence[str]) -> str:
        monkeypatch.setattr(sys, "argv", ["mia_bench", *base, *words])
        signal.alarm(SECONDS)
        try:
            run_or_plan(compose(*base, *words))
        except Exception as error:
            message = explain(error)
            if message is None:
                raise
            return message
        finally:
            signal.alarm(0)
        return "plan"

    yield run
    signal.signal(signal.SIGALRM, before)


def check(outcome: Callable[..., str], n: int, seed: int) -> Counter[str]:
    wrong = []
    seen: Counter[str] = Counter()
    for words in command_lines(n, seed):
        try:
            said = outcome(words)
        except Exception as error:
            wrong.append(f"{_short(words)}\n    {type(error).__name__}: {str(error)[:300]}")
            continue
        seen["plan" if said == "plan" else "message"] += 1
        if not said.strip() or len(said) > MOST or "Traceback" in said:
            wrong.append(f"{_short(words)}\n    unclear: {said[:300]!r} ({len(said)} characters)")
        elif any(not c.isprintable() and c not in "\n\u200c\u200d" for c in said):
            wrong.append(f"{_short(words)}\n    control characters: {said[:300]!r}")
    assert not wrong, f"{len(wrong)} of {n}:\n" + "\n".join(wrong)
    return seen


def _short(words: Sequence[str]) -> str:
    return " ".join(ascii(word)[:100] for word in words)


@pytest.mark.long
def test_forty_command_lines_plan_or_say_why_not(outcome) -> None:
    seen = check(outcome, 40, 1)
    assert min(seen["plan"], seen["message"]) > 5, seen


@pytest.mark.slow
def test_five_hundred_command_lines_plan_or_say_why_not(outcome) -> None:
    print(check(outcome, 500, 0))
