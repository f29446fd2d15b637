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


def test_halves_are_in_the_identity_only_where_they_are_stratified(experiment):
    words = ("model.finetune=false", "eval.ensemble=false")
    hashed = experiment(*words, "calibration=split").options.calibration
    assert hashed.identity() == {"kind": "split", "folds": 5, "halves": 2}
    stratified = experiment(*words, "calibration=stratified").options.calibration
    assert stratified.identity() == {"kind": "split", "folds": 5, "halves": "stratified"}
    assert experiment().options.calibration.identity() == {"kind": "shadow", "folds": 5}
