"""Short forms of `make honesty`: intervals hold what they estimate, where that is known."""

from __future__ import annotations

import numpy as np
import pytest

from mia_bench.honesty.interval_coverage import NAMES, Setting, covered, draw, rows
from mia_bench.metrics import Thresholds

SETS = 120


@pytest.mark.first_look
@pytest.mark.parametrize(
    "setting", [Setting(180, 400, 1.5), Setting(180, 400, 3.0), Setting(180, 150, 0.8)]
)
def test_every_interval_covers(setting: Setting) -> None:
    """Nominal 0.95; 120 sets have a standard error of 0.02, so 0.88 is 3.5 of them below."""
    coverage = covered(setting, SETS, 200)
    assert set(coverage) == set(NAMES)
    for name, of in coverage.items():
        assert of.sets == of.held + of.below + of.above == SETS
        assert of.share >= 0.88, name
        assert 0 < of.width < 0.6
        assert of.error == pytest.approx(np.sqrt(of.share * (1 - of.share) / SETS))


@pytest.mark.long
def test_intervals_that_are_too_long_would_be_noticed() -> None:
    """At most 3.5 standard errors above 0.95: what holds everything says nothing."""
    coverage = covered(Setting(180, 400, 0.5), SETS, 200)
    assert all(coverage[name].held < SETS for name in ("auroc", "asr", "realised_fpr"))


@pytest.mark.long
def test_groups_taken_for_rows_would_be_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Copies in groups of four, judged as single rows: intervals are half as long as they claim."""
    monkeypatch.setattr(Setting, "sizes", np.array([4]))
    setting = Setting(180, 400, 1.5, likeness=0.99)
    honest = covered(setting, 60, 200)

    def alone(setting: Setting, *key: int, sizes: tuple[int, int] | None = None):  # type: ignore[no-untyped-def]
        scores, member, group = draw(setting, *key, sizes=sizes)
        return scores, member, [str(i) for i in range(len(group))]

    monkeypatch.setattr("mia_bench.honesty.interval_coverage.draw", alone)
    wrong = covered(setting, 60, 200)
    for name in ("auroc", "asr"):
        assert wrong[name].share < 0.8 < honest[name].share
        assert wrong[name].width < 0.7 * honest[name].width


def test_scores_are_what_the_truth_assumes() -> None:
    setting = Setting(180, 400, 1.2)
    scores, group = rows(np.random.default_rng(0), 50_000, 1.2, setting)
    assert scores.mean() == pytest.approx(1.2, abs=0.03)
    assert scores.std() == pytest.approx(1, abs=0.03)
    size = np.bincount(group)
    pairs = np.flatnonzero(size == 2)
    first = np.searchsorted(group, pairs)
    alike = np.corrcoef(scores[first], scores[first + 1])[0, 1]
    assert alike == pytest.approx(0.7, abs=0.05)
    truth = setting.truth(Thresholds(0.6, 2.0, 2))
    assert truth["asr"] == pytest.approx(((scores > 0.6).mean() + 0.7257) / 2, abs=0.01)
    assert truth["tpr_calibrated"] == pytest.approx((scores > 2.0).mean(), abs=0.01)
    assert truth["realised_fpr"] == pytest.approx(0.02275, abs=1e-4)
    assert truth["0.01"] == pytest.approx((scores > 2.3263).mean(), abs=0.01)
    assert "tpr_calibrated" not in setting.truth(Thresholds(0.6, None, 0))
    assert truth["auroc"] == pytest.approx(0.8019, abs=1e-4)


def test_data_sets_follow_from_their_key_and_keep_their_sizes() -> None:
    setting = Setting(60, 90, 1.0, "openclipart")
    one, same, other = draw(setting, 0, 1), draw(setting, 0, 1), draw(setting, 0, 2)
    np.testing.assert_array_equal(one[0], same[0])
    assert (one[0] != other[0]).any()
    assert (one[1].sum(), len(one[1])) == (60, 150)
    for label in set(one[2]):
        assert len({m for m, g in zip(one[1], one[2], strict=True) if g == label}) == 1
