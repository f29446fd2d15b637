"""sigma stands for the nearest timestep of the model's own schedule."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from flow_fixtures import flow_target

from mia_bench.attacks.loss import Loss
from mia_bench.models.memorizer import Pooling
from mia_bench.planning.keys import feature_name
from mia_bench.planning.noise_levels import at_timesteps, queried_levels
from mia_bench.utils.errors import MiaError

ATTACKS = "mia_bench.attacks"


class Line:
    """Noise fractions 0, .001, ..., .999."""

    def sigmas(self) -> list[float]:
        return [t / 1000 for t in range(1000)]


def node(target: str, **options: Any) -> dict[str, Any]:
    return {"_target_": f"{ATTACKS}.{target}", **options}


@pytest.mark.parametrize(
    ("given", "field", "expected"),
    [
        (node("loss.Loss", sigma=0.35), "t", 350),
        (node("pia.PIA", sigma=1), "t", 999),
        (node("mc.MonteCarlo", sigma=[0.1, 0.2004]), "timesteps", [100, 200]),
        (node("mc.MonteCarlo", sigma=0.3), "timesteps", [300]),
        (node("secmi.SecMI", sigma=0.303, k=10), "t_sec", 300),
        (node("rediffuse.ReDiffuse", sigma=0.02), "t", 50),  # its stride is 50
    ],
)
def test_sigma_becomes_the_attacks_own_timestep(
    given: dict[str, Any], field: str, expected: Any
) -> None:
    found = at_timesteps(given, "attack.x", Line())  # type: ignore[arg-type]
    assert found[field] == expected
    assert "sigma" not in found


def test_a_sigma_of_an_attacks_own_is_left_alone() -> None:
    own = node("noise_agg.NoiseAgg", sigma=0.2)
    assert at_timesteps(own, "attack.x", Line()) is own  # type: ignore[arg-type]
    plain = node("loss.Loss", t=5)
    assert at_timesteps(plain, "attack.x", Line()) is plain  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("given", "model", "words"),
    [
        (node("loss.Loss", sigma=1.5), Line(), "between 0 and 1"),
        (node("loss.Loss", sigma="half"), Line(), "between 0 and 1"),
        (node("loss.Loss", sigma=[0.1, 0.2]), Line(), "one number is needed"),
        (node("gsa.GSA", sigma=0.2), Line(), "no one level"),
        (node("loss.Loss", sigma=0.2), Pooling(), "does not say its noise levels"),
    ],
)
def test_what_has_no_level_is_refused(given: dict[str, Any], model: Any, words: str) -> None:
    with pytest.raises(MiaError, match=words):
        at_timesteps(given, "attack.x", model)


def test_the_same_level_has_the_same_key(experiment: Any) -> None:
    by_sigma = experiment("attack=loss", "+attack.loss.sigma=0.302")
    by_time = experiment("attack=loss", "attack.loss.t=140")
    assert by_sigma.attacks["loss"] == by_time.attacks["loss"] == Loss(140)
    names = {feature_name(e.attacks["loss"], [], e.options.eval) for e in (by_sigma, by_time)}
    assert len(names) == 1


def test_levels_are_written_down_for_flow_matching_alone(random_target: Any) -> None:
    assert queried_levels(random_target(), Loss(140)) == {}
    levels = queried_levels(flow_target(), Loss(140))
    assert levels == {"140": pytest.approx(0.302, abs=1e-3)}
    assert torch.tensor(levels["140"]) == pytest.approx(flow_target().b[140].item(), abs=1e-5)
