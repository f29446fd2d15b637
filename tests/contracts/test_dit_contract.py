"""Every grey-box attack on every transformer family: deterministic, whatever the batch, as dear as
it says."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
from attack_nodes import NODES, QUICK, parameters, question
from dit_pipelines import FAMILIES, SIDE
from torch import Tensor

from mia_bench.attacks import Access, Attack
from mia_bench.attacks.drc import DRC
from mia_bench.attacks.noise_agg import TunedNoiseAgg
from mia_bench.config.instantiate import build
from mia_bench.models.dit.builder import DiffusionTransformer
from mia_bench.target import Batch, Target

DEAR = {
    *("drc_face", "drc_full", "drc_tasks", "mc_full", "noise_probe"),
    *("pfami_nns", "pfami_paired", "secmi_nns"),
}
NAMES = sorted(
    name
    for name, node in NODES.items()
    if build(node, name).access is Access.GREY_BOX and name not in DEAR
)
RESTORING_STEPS = 4  # of DRC's 20
# the first logarithm or ratio of small differences after a chain of calls multiplies last digits
ROWS_AGREE = 5e-3

EVERY = [pytest.param(f, marks=() if f == "sd3" else pytest.mark.long) for f in FAMILIES]


class Answers(NamedTuple):
    """Features of one batch, the same again, and of its rows one by one with what they asked."""

    whole: dict[str, Tensor]
    again: dict[str, Tensor]
    rows: list[dict[str, Tensor]]
    cost: list[int]


@pytest.fixture(scope="module", params=EVERY)
def target(request: pytest.FixtureRequest, saved_dit: Callable[[str], Path]) -> Target:
    family = str(request.param)
    folder = saved_dit(family)
    guidance = 1.0 if family == "flux_dev" else None
    model = DiffusionTransformer(str(folder), SIDE.get(family, 16), chunk=64, guidance=guidance)
    return model.build(model.load_unet(), seed=0)


@pytest.fixture(scope="module")
def asked(target: Target) -> dict[str, Answers]:  # noqa: ARG001 - empty again with each target
    """Answers of this target by question: attacks that only score differently share them."""
    return {}


def shortened(attack: Attack, target: Target) -> Attack:
    """With fewer steps of the chains whose steps are alike; the attack's own number of them is
    asked of the Stable Diffusion family in test_attack_contract.py."""
    if isinstance(attack, TunedNoiseAgg):
        return replace(attack, schedules=attack.schedules[:2])
    if not isinstance(attack, DRC):
        return attack
    attack = replace(attack, steps=RESTORING_STEPS)
    if attack.tasks == DRC().tasks and target.latent_shape[-1] <= 8:
        return replace(attack, tasks=("inpaint:0.05",))  # a larger hole leaves no latent cell
    return attack


@torch.no_grad()
def ask(attack: Attack, target: Target, batch: Batch) -> dict[str, Tensor]:
    target.forget()
    target.start_attack()
    return attack.features(target, batch)


def row_of(batch: Batch, i: int) -> Batch:
    return Batch((batch.sample_id[i],), batch.image[i : i + 1], (batch.caption[i],))


@torch.no_grad()
def answers_of(attack: Attack, target: Target, random_batch: Callable[..., Batch]) -> Answers:
    """Of a batch of two, one with an empty caption."""
    pixels = target.decode(torch.zeros(1, *target.latent_shape)).shape[-1]
    drawn = random_batch(2, 0, pixels)
    batch = Batch(drawn.sample_id, drawn.image, ("a small red boat on the image", ""))
    whole, again = ask(attack, target, batch), ask(attack, target, batch)
    rows, cost = [], []
    for i in range(2):
        before = target.queries["asked"]
        rows.append(ask(attack, target, row_of(batch, i)))
        cost.append(target.queries["asked"] - before)
    return Answers(whole, again, rows, cost)


@pytest.mark.parametrize("name", parameters(NAMES, NODES.keys() - QUICK))
def test_every_grey_box_attack_runs(
    name: str,
    target: Target,
    asked: dict[str, Answers],
    random_batch: Callable[..., Batch],
) -> None:
    attack: Attack = shortened(build(NODES[name], name), target)
    if question(attack) not in asked:
        asked[question(attack)] = answers_of(attack, target, random_batch)
    answers = asked[question(attack)]
    for i, row in enumerate(answers.rows):
        assert answers.cost[i] <= attack.nfe[0]
        for key, value in row.items():
            assert value.isfinite().all()
            expected = answers.whole[key][i]
            assert torch.allclose(value[0], expected, rtol=ROWS_AGREE, atol=1e-4), key
    for key, value in answers.whole.items():
        assert torch.equal(value, answers.again[key]), key


@torch.no_grad()
def test_a_caption_is_embedded_alike_before_and_after_the_null_one(target: Target) -> None:
    target.engine.memo.clear()
    first = target.embed(("a small red boat on the image", ""))
    target.forget()  # but for the null condition
    second = target.embed(("a small red boat on the image", ""))
    assert torch.equal(first.hidden, second.hidden)
    for name, values in first.extra.items():
        assert torch.equal(values, second.extra[name]), name
