"""Equal configurations have equal keys, whatever the order of words; different ones different keys.

Each change says which artefacts it decides: a key holds all of that, and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
from album import make_album
from hypothesis import given, settings
from hypothesis import strategies as st

from mia_bench.planning.make_plan import make_plan
from mia_bench.planning.plan import Plan

MODEL, FEATURES, CELL = "model", "features", "cell"
CHANGES: dict[str, set[str]] = {
    "finetune.lr=0.002": {MODEL},
    "finetune.seed=9": {MODEL},
    "finetune.batch_size=6": {MODEL},
    "finetune.ema_decay=0.9": {MODEL},
    "trainer.precision=bf16-mixed": {MODEL},
    "mitigation=[flip,weight_decay]": {MODEL},
    "eval.seed=5": {FEATURES, CELL},
    "attack.clid.timesteps=[440,450]": {FEATURES},
    "attack.clid.alpha=0.3": {CELL},
    "calibration.folds=4": {CELL},
    "eval.resamples=300": {CELL},
    "eval.batch_size=7": set(),
    "paths.cache_gb=1": set(),
    "logger.project=other": set(),
    "finetune.val_every=2": set(),
    "finetune.checkpoint_every=2": set(),
    "debug=true": set(),
    "attack=[clid]": set(),
}
words = st.lists(st.sampled_from(sorted(CHANGES)), max_size=6, unique=True)
Keys = dict[str, str]


@pytest.fixture(scope="module")
def keys(small, tmp_path_factory) -> Callable[[Sequence[str]], Keys]:
    """keys(words): of the target, its feature table and its cell; the data are listed once."""
    folder = tmp_path_factory.mktemp("keys")
    root = make_album(folder / "data", 70)
    where = ("data=imagefolder", f"data.source.root={root}")
    first = make_plan(small(*where, outputs=folder / "outputs"))

    def find(overrides: Sequence[str]) -> Keys:
        experiment = small(*where, *overrides, outputs=folder / "outputs")
        plan = Plan(experiment, first.split, first.items, first.outputs)
        [run] = plan.runs
        found = {MODEL: plan.target.key, FEATURES: run.evaluation.folder.name}
        return {**found, CELL: run.folder.name}

    return find


def decided(overrides: Sequence[str]) -> set[str]:
    """What the words change: a cell's key holds those of its features, and theirs of its models."""
    levels = set().union(*(CHANGES[word] for word in overrides))
    return levels | ({CELL} if levels else set())


@pytest.mark.long
@settings(max_examples=8, deadline=None)
@given(words, st.randoms(use_true_random=False))
def test_the_order_of_words_is_none_of_a_key(keys, chosen, random) -> None:
    other = list(chosen)
    random.shuffle(other)
    found = keys(chosen)
    assert found == keys(other)
    default = keys(())
    assert {level for level in found if found[level] != default[level]} == decided(chosen)


def test_what_halves_the_rows_decides_a_cell_that_is_calibrated_on_half_of_them(keys) -> None:
    half = keys(("calibration=split",))
    other = keys(("calibration=split", "data.split_seed=9"))
    assert {level for level in half if half[level] != other[level]} == {CELL}
    assert keys(("data.split_seed=9",)) == keys(())  # shadowed: roles are in the split's content


@pytest.mark.long
def test_different_configurations_have_different_keys(keys) -> None:
    """One change at a time: no two of them meet in a key that both decide."""
    by_level: dict[str, dict[str, str]] = {}
    for word in CHANGES:
        for level, key in keys((word,)).items():
            if level in decided((word,)):
                assert key not in by_level.setdefault(level, {}), (word, by_level[level][key])
                by_level[level][key] = word
    assert sum(map(len, by_level.values())) == sum(len(decided((word,))) for word in CHANGES)
