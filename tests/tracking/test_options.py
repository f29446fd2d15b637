"""Options of the commands that talk to W&B."""

from __future__ import annotations

import pytest

from mia_bench.sync import COMMAND
from mia_bench.tracking.options import options_of
from mia_bench.utils.errors import MiaError


def test_words_with_and_without_logger_become_options(tmp_path):
    words = [f"paths.outputs={tmp_path}", "logger.project=mine", "entity=us", "again=true"]
    options = options_of(COMMAND, words)
    assert (options.logger.project, options.logger.entity, options.again) == ("mine", "us", True)
    assert options.logger.wandb == "online"
    assert options.outputs == tmp_path
    with pytest.raises(MiaError, match="Did you mean 'project'"):
        options_of(COMMAND, ["projct=x"])


def test_without_words_everything_is_sent_once_to_the_default_project(tmp_path):
    options = options_of(COMMAND, [f"paths.outputs={tmp_path}"])
    assert (options.logger.project, options.logger.entity) == ("mia_bench", None)
    assert not options.again
