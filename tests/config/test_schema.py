"""Defaults of the schema, as conf/ fills them in."""

from __future__ import annotations


def test_one_seed_gives_three_unless_they_are_set(experiment):
    options = experiment("seed=5", "eval.seed=9").options
    assert (options.data.split_seed, options.finetune.seed, options.eval.seed) == (5, 5, 9)


def test_defaults_of_the_schema_are_those_of_the_default_run(experiment):
    options = experiment().options
    assert options.calibration.kind == "shadow"
    assert options.trainer.devices == 1
    assert options.eval.dtype is None
