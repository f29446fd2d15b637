"""Attacks that cannot be served: refused by name with those that work, or left out."""

from __future__ import annotations

from dataclasses import replace

import pytest
from attack_nodes import NODES

from mia_bench.attacks.caption_free.mofit_lite import MoFitLite
from mia_bench.attacks.clid import CLiD
from mia_bench.attacks.inversion.noise_probe import NoiseProbe
from mia_bench.attacks.loss import Loss
from mia_bench.attacks.pullback.loss_pullback import LossPullback
from mia_bench.attacks.pullback.sima_pullback import SimAPullback
from mia_bench.attacks.residuals.mismatch import CaptionMismatch
from mia_bench.attacks.sima import SimA
from mia_bench.config.instantiate import build
from mia_bench.models.ddpm.builder import DDPM
from mia_bench.models.stable_diffusion import StableDiffusion
from mia_bench.planning.applicable import (
    UNDEMANDING,
    Lack,
    by_reason,
    check_mode,
    lacks_of,
    left_out,
    needing_base,
    needing_captions,
    needing_decoder,
    needing_text,
)
from mia_bench.planning.describe import describe_plan
from mia_bench.planning.make_plan import make_plan
from mia_bench.utils.errors import MiaError

NO_CAPTIONS = Lack(needing_captions, "captions are needed, and there are none", "Find some.")
PIXELS = DDPM(path=None, resolution=16)
FINISHED = StableDiffusion(path="nowhere", resolution=64, finetune=False)
DEMANDING = {
    "loss": Loss(),
    "clid": CLiD(),
    "mofit_lite": MoFitLite(),
    "mismatch": CaptionMismatch(against="empty"),
    "sima_pullback": SimAPullback(),
    "noise_probe": NoiseProbe(),
}


def test_attacks_are_left_out_with_the_reason() -> None:
    attacks = {"clid": CLiD(), "loss": Loss()}
    assert left_out(attacks, [NO_CAPTIONS], "skip") == {"clid": NO_CAPTIONS.reason}
    assert left_out({"loss": Loss()}, [NO_CAPTIONS], "refuse") == {}
    with pytest.raises(
        MiaError, match=r"^attack clid: .*are none\. Find some\. .*'attack=\[loss\]"
    ):
        left_out(attacks, [NO_CAPTIONS], "refuse")


def test_each_attack_is_named_with_what_it_needs_itself() -> None:
    reasons = by_reason(left_out(DEMANDING, lacks_of(PIXELS), "skip"))
    assert list(reasons.values()) == [
        ["clid"],
        ["mofit_lite", "mismatch"],
        ["sima_pullback"],
        ["noise_probe"],
    ]
    for reason, words in zip(
        reasons,
        ("captions are needed", "takes text is needed", "every entry has the same", "random weig"),
        strict=True,
    ):
        assert words in reason


def test_what_works_is_what_was_asked_for_or_a_handful() -> None:
    with pytest.raises(MiaError, match=r"'attack=\[loss,sima\]', or add eval.inapplicable=skip"):
        left_out(DEMANDING, lacks_of(PIXELS), "refuse")  # sima: sima_pullback without its mask
    with pytest.raises(MiaError) as caught:
        left_out({"clid": CLiD()}, lacks_of(PIXELS), "skip")  # nothing would be left
    assert str(caught.value).endswith(
        "'attack=[loss,pia,secmi,sima,drc,img2img]'; mia-bench list attacks names the rest."
    )


def test_masked_attacks_are_answered_with_their_own_hosts() -> None:
    attacks = {"loss_randommask": replace(LossPullback(), mask="random")}
    with pytest.raises(MiaError, match=r"'attack=\[loss\]'\. loss: the same without a mask\.$"):
        left_out(attacks, lacks_of(PIXELS), "refuse")
    masked = {name: build(node, name) for name, node in NODES.items() if "pullback" in name}
    for name, attack in masked.items():
        assert attack.host == name.removesuffix("_pullback")
        assert attack.plain()[0] == f"{attack.host}_randommask"
    assert needing_decoder(masked) == list(masked)


def test_a_base_is_asked_for_only_where_it_can_be_named() -> None:
    attacks = {"loss": Loss(), "noise_probe": NoiseProbe()}
    with pytest.raises(MiaError, match=r"none is known\. Name it, as in model\.base=") as caught:
        left_out(attacks, lacks_of(FINISHED), "refuse")
    assert "random weights" not in str(caught.value)
    trained = DDPM(path="somewhere", resolution=16, finetune=False)
    for model in (PIXELS, trained):  # neither has an option `base`
        with pytest.raises(MiaError, match=r"attack noise_probe: .*'attack=\[loss\]'") as caught:
            left_out(attacks, lacks_of(model), "refuse")
        assert "model.base" not in str(caught.value)
    assert left_out(attacks, lacks_of(replace(FINISHED, base="other")), "refuse") == {}
    assert left_out(attacks, lacks_of(replace(FINISHED, finetune=True)), "refuse") == {}


def test_what_is_suggested_needs_nothing() -> None:
    attacks = {name: build(NODES[name], name) for name in UNDEMANDING}
    for needing in (needing_captions, needing_text, needing_decoder, needing_base):
        assert needing(attacks) == []
    assert needing_decoder({"sima": SimA(), "sima_pullback": SimAPullback()}) == ["sima_pullback"]


def test_the_plan_leaves_them_out_and_says_so(small, tmp_path) -> None:
    words = ("model=ddpm", "finetune.from_scratch=true", "eval.inapplicable=skip")
    asked = "attack=[loss,mismatch,sima_pullback,noise_probe]"
    run = small(asked, "attack.mismatch.against=empty", *words, outputs=tmp_path)
    plan = make_plan(run)
    assert [run.name for run in plan.runs] == ["loss"]
    lines = [line for line in describe_plan(plan) if line.startswith("left out: ")]
    assert [line.partition(";")[0] for line in lines] == [
        "left out: mismatch",
        "left out: sima_pullback",
        "left out: noise_probe",
    ]


def test_another_mode_is_a_slip() -> None:
    check_mode("skip")
    with pytest.raises(MiaError, match=r"eval\.inapplicable=ski\. Did you mean 'skip'"):
        check_mode("ski")
