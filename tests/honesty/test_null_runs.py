"""Whole runs on the untouched base, small: the intervals of the default attack hold chance."""

from __future__ import annotations

import pytest

from mia_bench.honesty.null_runs import Run, null_runs

TINY = ("data.sizes.target_member=16", "data.sizes.target_nonmember=24", "eval.resamples=200")


@pytest.mark.long
def test_a_run_without_members_is_at_chance(tmp_path, small_overrides) -> None:  # type: ignore[no-untyped-def]
    (run,) = null_runs(tmp_path, range(1), *small_overrides, *TINY, "attack.clid.timesteps=[450]")
    assert run.seed == 0
    assert 0 <= run.lo < run.value < run.hi <= 1
    assert run.hi - run.lo > 0.3  # 8 + 12 rows are judged
    assert not list((tmp_path / "targets").glob("*/last.ckpt"))  # nothing was trained


def test_chance_is_held_by_both_limits() -> None:
    assert Run(0, 0.55, 0.5, 0.6).holds
    assert Run(0, 0.45, 0.4, 0.5).holds
    assert not Run(0, 0.55, 0.51, 0.6).holds
    assert not Run(0, 0.45, 0.4, 0.49).holds
