"""Every row has a score; what fits on labels is cross-fitted, and tested by fitting again."""

from __future__ import annotations

import numpy as np
import pytest

from mia_bench.audit.program import ask, prepare_audit
from mia_bench.audit.scores import COMBINED, panel_scores, refitted_p
from mia_bench.metrics.inference.panel_combination import combined_score


def test_no_row_is_kept_for_calibration(audited):
    table = audited.scores.table
    assert len(table) == 20
    assert audited.scores.attacks == ["sima", "loss"]
    assert audited.scores.fitted == ()
    assert np.isfinite(table[["sima", "loss"]].to_numpy()).all()
    expected = combined_score([table.sima, table.loss])
    np.testing.assert_array_equal(table[COMBINED], expected)


def test_with_a_base_its_features_are_subtracted(ask_owner, audited):
    """The base of a model is here the model itself: nothing is left of any picture."""
    prepared = prepare_audit(ask_owner(base="tiny"))
    scores = panel_scores(prepared.run, prepared.sets)
    assert scores.subtracted == ("sima", "loss")
    assert (scores.table.sima == 0).all()
    assert "combined_base" in scores.table
    np.testing.assert_array_equal(scores.table.combined_base, audited.scores.table[COMBINED])


@pytest.mark.long
def test_an_attack_that_fits_is_cross_fitted_and_refitted(ask_owner, monkeypatch):
    from mia_bench.audit import scores as module

    monkeypatch.setattr(module, "REFITS", 19)
    overrides = ("trainer=cpu", "attack.clid.timesteps=[440]", "attack.clid.alpha=null")
    prepared = prepare_audit(ask_owner(attacks=("clid",), overrides=overrides))
    result = ask(prepared)
    assert result.scores.fitted == ("clid",)
    assert result.findings.attacks[0].fitted
    p = refitted_p(prepared.run, 0)
    assert p == result.findings.p_value
    assert p in {(1 + k) / 20 for k in range(20)}
