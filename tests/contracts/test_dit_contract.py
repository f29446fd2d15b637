"""Every grey-box attack on every transformer family: deterministic, whatever the batch, as dear as
it says."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from attack_nodes import NODES, parameters
from dit_pipelines import FAMILIES, SIDE
from torch import Tensor

from mia_bench.attacks import Access, Attack
from mia_bench.attacks.drc import DRC
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
# the first logarithm or ratio of small differences after a chain of calls multiplies last digits
ROWS_AGREE = 5e-3

EVERY = [pytest.param(f, marks=() if f == "sd3" else pytest.mark.long) for f in FAMILIES]


@pytest.fixture(scope="module", params=EVERY)
def target(request: pytest.FixtureRequest, saved_dit: Callable[[str], Path]) -> Target:
    family = str(request.param)
    folder = saved_dit(family)
    guidance = 1.0 if family == "flux_dev" else None
    model = DiffusionTransformer(str(folder), SIDE.get(family, 16), chunk=64, guidance=guidance)
    return model.build(model.load_unet(), seed=0)


@torch.no_grad()
def ask(attack: Attack, target: Target, batch: Batch) -> dict[str, Tensor]:
    target.forget()
    target.start_attack()
    return attack.features(target, batch)


def row_of(batch: Batch, i: int) -> Batch:
    return Batch((batch.sample_id[i],), batch.image[i : i + 1], (batch.caption[i],))


@torch.no_grad()
@pytest.mark.parametrize("name", parameters(NAMES))
def test_every_grey_box_attack_runs(
    name: str, target: Target, random_batch: Callable[..., Batch]
) -> None:
    attack: Attack = build(NODES[name], name)
    if isinstance(attack, DRC) and attack.tasks == DRC().tasks and target.latent_shape[-1] <= 8:
        attack = replace(attack, tasks=("inpaint:0.05",))  # a larger hole leaves no latent cell
    pixels = target.decode(torch.zeros(1, *target.latent_shape)).shape[-1]
    drawn = random_batch(2, 0, pixels)
    batch = Batch(drawn.sample_id, drawn.image, ("a small red boat on the image", ""))
    whole, again = ask(attack, target, batch), ask(attack, target, batch)
    for i in range(2):
        before = target.queries["asked"]
        row = ask(attack, target, row_of(batch, i))
        assert target.queries["asked"] - before <= attack.nfe[0]
        for key, value in row.items():
            assert value.isfinite().all()
            assert torch.allclose(value[0], whole[key][i], rtol=ROWS_AGREE, atol=1e-4), key
    for key, value in whole.items():
        assert torch.equal(value, again[key]), key


@torch.no_grad()
def test_a_caption_is_embedded_alike_before_and_after_the_null_one(target: Target) -> None:
    target.engine.memo.clear()
    first = target.embed(("a small red boat on the image", ""))
    target.forget()  # but for the null condition
    second = target.embed(("a small red boat on the image", ""))
    assert torch.equal(first.hidden, second.hidden)
    for name, values in first.extra.items():
        assert torch.equal(values, second.extra[name]), name
