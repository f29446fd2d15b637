"""Attacks that cannot be served: refused by name with those that work, or left out."""

from __future__ import annotations

import pytest

from mia_bench.attacks.caption_free.mofit_lite import MoFitLite
from mia_bench.attacks.clid import CLiD
from mia_bench.attacks.loss import Loss
from mia_bench.planning.applicable import (
    check_mode,
    left_out_without_captions,
    left_out_without_text,
    needing_captions,
    needing_text,
    working_without,
)
from mia_bench.utils.errors import MiaError

ATTACKS = {"clid": CLiD(), "loss": Loss()}


def test_attacks_are_left_out_with_the_reason():
    assert needing_captions(ATTACKS) == ["clid"]
    assert left_out_without_captions(ATTACKS, "skip", "none") == {"clid": "none"}
    assert left_out_without_captions({"loss": Loss()}, "refuse", "none") == {}


def test_attacks_named_are_refused_and_the_others_suggested():
    with pytest.raises(MiaError, match=r"attack clid: .* the model has no text\. .*\[loss\]"):
        left_out_without_captions(ATTACKS, "refuse", "the model has no text")
    with pytest.raises(MiaError, match=r"\[drc,.*sima,structural\]"):  # nothing is left of these
        left_out_without_captions({"clid": CLiD()}, "skip", "the model has no text")


def test_a_model_without_text_serves_no_attack_on_conditions():
    attacks = {**ATTACKS, "mofit_lite": MoFitLite()}
    assert needing_captions(attacks) == ["clid"]
    assert needing_text(attacks) == ["clid", "mofit_lite"]
    assert left_out_without_text(attacks, "skip", "none").keys() == {"clid", "mofit_lite"}
    with pytest.raises(MiaError, match=r"attack mofit_lite: .* has no text\. .*img2img") as caught:
        left_out_without_text({"mofit_lite": MoFitLite()}, "refuse", "a DDPM has no text")
    assert str(caught.value).count("mofit_lite") == 1


def test_those_that_work_need_no_captions():
    names = working_without(needing_captions)
    assert {"loss", "drc", "noise_agg_tuned", "gsa"} <= set(names)
    assert not [name for name in names if name.startswith("clid")]
    assert not {"sima_pullback", "noise_probe", "drc_attention"} & set(names)


def test_another_mode_is_a_slip():
    check_mode("skip")
    with pytest.raises(MiaError, match=r"eval\.inapplicable=ski\. Did you mean 'skip'"):
        check_mode("ski")
