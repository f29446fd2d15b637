"""What holds of every attack under the pull-back mask: its host's own statistic, masked."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch

from mia_bench.attacks.loss import Loss
from mia_bench.attacks.pia import PIA
from mia_bench.attacks.pullback.loss_pullback import LossPullback
from mia_bench.attacks.pullback.pia_pullback import PIAPullback
from mia_bench.attacks.pullback.secmi_pullback import SecMIPullback
from mia_bench.attacks.pullback.sima_pullback import SimAPullback
from mia_bench.attacks.secmi import SecMI
from mia_bench.attacks.sima import SimA


class Pair(NamedTuple):
    """An attack, its host, and the host's features as the sum of powers that the mask is put on."""

    attack: Any
    host: Any
    sums: Callable[[Any], Any]
    same_power: Any
    """The attack with the host's power."""


PAIRS = {
    "loss": Pair(LossPullback(), Loss(), lambda f: f["loss"] * 256, LossPullback(p=2)),
    "pia": Pair(PIAPullback(), PIA(), lambda f: f["distance"] ** 4, PIAPullback()),
    "secmi": Pair(SecMIPullback(), SecMI(), lambda f: f["error"], SecMIPullback()),
    "sima": Pair(SimAPullback(), SimA(), lambda f: f["norm"], SimAPullback()),
}


@pytest.fixture(params=sorted(PAIRS))
def host(request) -> str:
    return str(request.param)


@pytest.mark.first_look(3)
def test_a_mask_that_keeps_all_is_the_host(host, literal, measure) -> None:
    pair = PAIRS[host]
    found = measure(replace(pair.same_power, drop=0.0), literal.target, literal.batch)
    whole = pair.sums(measure(pair.host, literal.target, literal.batch))
    for name in ("influence", "random"):
        np.testing.assert_allclose(found[name], np.asarray(whole).reshape(-1), rtol=1e-5)


def test_features_of_no_mask_are_others_than_once(host) -> None:
    """Older code left out the least entry; other shares have the version that they had."""
    attack = PAIRS[host].attack
    assert [replace(attack, drop=drop).version for drop in (0.0, 0.01, 0.4)] == [2, 1, 1]


@torch.no_grad()
def test_beside_its_host_it_queries_nothing(host, literal) -> None:
    target, pair = literal.target, PAIRS[host]
    pair.host.features(target, literal.batch)
    before = target.queries["forward"]
    target.start_attack()
    asked = target.queries["asked"]
    pair.attack.features(target, literal.batch)
    assert target.queries["forward"] == before
    assert target.queries["asked"] - asked == pair.attack.nfe[0] * 4  # alone it would cost this


def test_the_control_is_the_same_features_under_the_other_mask(host, attack_fixtures) -> None:
    features = {"influence": np.array([1.0, 5.0, 3.0]), "random": np.array([2.0, 0.0, 7.0])}
    attack = PAIRS[host].attack
    control = replace(attack, mask="random")
    assert attack.score(features, attack_fixtures.NOTHING).tolist() == [-1, -5, -3]
    assert control.score(features, attack_fixtures.NOTHING).tolist() == [-2, 0, -7]
    attack_fixtures.assert_row_by_row(attack, features)
    name, plain, _ = attack.plain()
    assert (name, plain) == (f"{host}_randommask", control)
    assert control.plain() is None
