"""Notes of libraries are silenced; warnings about our own use of them are not."""

from __future__ import annotations

import warnings

import pytest

from mia_bench.utils.library_logging import silence_libraries


def test_notes_alone_are_silenced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    with warnings.catch_warnings(record=True) as shown:
        warnings.simplefilter("always")
        silence_libraries()
        warnings.warn("the loader does not have many workers which may be slow", stacklevel=1)
        warnings.warn("this argument is ignored", stacklevel=1)
    assert [str(warning.message) for warning in shown] == ["this argument is ignored"]


@pytest.mark.long
def test_notes_are_silenced_and_other_warnings_stay(run_python) -> None:
    code = """
import logging, warnings
from mia_bench.utils.library_logging import silence_libraries
silence_libraries()
import lightning.pytorch  # which sets its level when it is first imported
logging.getLogger("lightning.pytorch").warning("a note of Lightning")
warnings.warn("the loader does not have many workers which may be slow")
warnings.warn("this argument is ignored")
logging.getLogger("lightning.pytorch").error("an error of Lightning")
import transformers.utils.logging as transformers_logging
print(transformers_logging.is_progress_bar_enabled())
"""
    finished = run_python("-c", code)
    printed = finished.stderr
    assert finished.stdout.strip() == "False"
    assert "a note" not in printed
    assert "many workers" not in printed
    assert "this argument is ignored" in printed
    assert "an error of Lightning" in printed


@pytest.mark.long
def test_a_machine_with_slurm_is_no_reason_to_warn(run_python, tmp_path) -> None:
    """Lightning warns wherever `srun` is on PATH; a run outside it starts its own ranks."""
    srun = tmp_path / "srun"
    srun.write_text("#!/bin/sh\nexit 1\n")
    srun.chmod(0o755)
    code = f"""
import os, warnings
os.environ["PATH"] = {str(tmp_path)!r} + os.pathsep + os.environ["PATH"]
warnings.simplefilter("error")
from lightning.pytorch import Trainer
try:
    Trainer(accelerator="cpu", logger=False, enable_checkpointing=False)
except UserWarning as warning:
    print("srun" in str(warning))
from mia_bench.utils.library_logging import silence_libraries
silence_libraries()
from mia_bench.config.schema import TrainerOptions
from mia_bench.utils.lightning_tools import make_trainer
trainer = make_trainer(TrainerOptions(accelerator="cpu"), [])
print(type(trainer._accelerator_connector.cluster_environment).__name__)
"""
    assert run_python("-c", code).stdout.split() == ["True", "LightningEnvironment"]
