"""The modules beside these tests can be imported by name; one finished run serves most of them."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def _nothing_goes_on() -> Iterator[None]:
    """What a test that failed left running."""
    from jobs import STARTED

    yield
    while STARTED:
        STARTED.pop().kill()


@pytest.fixture(scope="session")
def whole(experiment, once) -> Path:
    """The outputs of an uninterrupted run, not to be written to."""
    from jobs import RUN

    from mia_bench.execution.run import execute

    return once("whole", lambda outputs: execute(experiment(*RUN, f"paths.outputs={outputs}")))


@pytest.fixture
def again(experiment) -> Callable[..., None]:
    """again(outputs, *overrides): the same run once more, in this process."""
    from jobs import RUN

    from mia_bench.execution.run import execute

    def run(outputs: Path, *overrides: str) -> None:
        given = {override.partition("=")[0] for override in overrides}
        kept = [word for word in RUN if word.partition("=")[0] not in given]
        execute(experiment(*kept, f"paths.outputs={outputs}", *overrides))

    return run


@pytest.fixture
def copied(whole, tmp_path) -> Path:
    """A copy of the finished run, to be damaged."""
    return Path(shutil.copytree(whole, tmp_path / "outputs"))


@pytest.fixture
def finished_copied(finished, tmp_path) -> Path:
    """A copy, to be damaged, of the small run that other tests read as well."""
    return Path(shutil.copytree(finished, tmp_path / "outputs"))


@pytest.fixture
def finished_again(small) -> Callable[[Path], None]:
    """finished_again(outputs): that run once more, in this process."""
    from verify_fixtures import ATTACKS

    from mia_bench.execution.run import execute

    return lambda outputs: execute(small(*ATTACKS, outputs=outputs))
