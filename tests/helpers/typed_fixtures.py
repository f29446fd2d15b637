"""A command line typed in this process: what it prints and its exit status, in a second.

A process of its own takes five to eight seconds, most of them to import torch.
"""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from io import StringIO

import pytest

from mia_bench.cli.dispatch import main


@contextmanager
def restored_process() -> Iterator[None]:
    """Whatever a command changes of this process, and Hydra with it, is as before."""
    from hydra.core.singleton import Singleton

    argv, environment, singletons = sys.argv, dict(os.environ), Singleton.get_state()
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    try:
        yield
    finally:
        for handler in set(root.handlers) - set(handlers):
            handler.close()
        root.handlers[:], sys.argv = handlers, argv
        root.setLevel(level)
        os.environ.clear()
        os.environ.update(environment)
        Singleton.set_state(singletons)


@pytest.fixture(scope="session")
def typed() -> Callable[..., subprocess.CompletedProcess[str]]:
    """typed(*words): `python -m mia_bench WORDS` without the process."""

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        out, errors, status = StringIO(), StringIO(), 0
        with restored_process(), redirect_stdout(out), redirect_stderr(errors):
            sys.argv = ["mia-bench"]
            try:
                main(words)
            except SystemExit as end:
                status = end.code if isinstance(end.code, int) else int(end.code is not None)
        return subprocess.CompletedProcess(words, status, out.getvalue(), errors.getvalue())

    return run
