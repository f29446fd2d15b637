"""Notes of libraries are silenced; warnings about our own use of them are not."""

from __future__ import annotations


def test_notes_are_silenced_and_other_warnings_stay(run_python) -> None:
    code = """
import logging, warnings
from mia_bench.utils.library_logging import silence_libraries
silence_libraries()
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
