"""The proxy attacker: what it sees, that it learns, and which way it pushes the model."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from encoded import RECIPE, rows, treated
from torch.nn import functional as F

from mia_bench.mitigations.proxy_attacker import ProxyAttacker
from mia_bench.training.module import FinetuneModule
from mia_bench.training.proxy import MEMBER, NONMEMBER, Proxy
from mia_bench.utils.errors import MiaError


@pytest.fixture
def data(fresh_target):
    target = fresh_target()
    return rows(target, 7, "member"), rows(target, 6, "other")


def errors_by_label(found, batch):
    """Maps that a classifier can tell apart: members have small errors."""
    generator = torch.Generator().manual_seed(int(batch["t"].sum()))
    size = 0.1 if found.sample_id[0].startswith("member") else 1.0
    return size * torch.rand(len(batch["row"]), *found.z0.shape[1:], generator=generator)


def test_it_learns_what_tells_members_from_others(data):
    defence = ProxyAttacker(attacker_lr=1e-3, attacker_steps=5, dropout=0.0)
    proxy = Proxy(defence, *data, replace(RECIPE, batch_size=6), 1000)
    accuracy = [proxy.learn(errors_by_label, step) for step in range(10)]
    assert accuracy[-1] == 1.0
    members = 0.1 * torch.rand(6, *data[0].z0.shape[1:])
    assert (proxy.logits(members).argmax(1) == MEMBER).all()
    assert (proxy.logits(10 * members).argmax(1) == NONMEMBER).all()


def test_the_logits_are_the_literal_network_without_dropout(data):
    proxy = Proxy(ProxyAttacker(dropout=0.0), *data, RECIPE, 1000)
    errors = torch.rand(3, *data[0].z0.shape[1:])
    a, b, c = proxy.attacker
    expected = c(F.relu(b(F.relu(a(errors.flatten(1))))))
    assert torch.allclose(proxy.logits(errors), expected)


def test_dropout_keeps_a_half_twice_as_large_and_repeats_by_its_step(data):
    proxy = Proxy(ProxyAttacker(dropout=0.5), *data, RECIPE, 1000)
    ones = torch.ones(1, 10_000)
    proxy._reseed("defence", 3)
    first = proxy._dropped(ones)
    assert set(first.unique().tolist()) == {0.0, 2.0}
    assert first.mean().item() == pytest.approx(1, abs=0.05)
    proxy._reseed("defence", 3)
    assert torch.equal(proxy._dropped(ones), first)


def test_the_model_is_pushed_through_its_errors_and_the_attacker_is_not(data):
    defence = ProxyAttacker(attacker_lr=1e-3, attacker_steps=20, dropout=0.0)
    proxy = Proxy(defence, *data, RECIPE, 1000)
    proxy.learn(errors_by_label, 0)
    proxy.optimizer.zero_grad()
    errors = (0.1 * torch.rand(4, *data[0].z0.shape[1:])).requires_grad_()
    objective = proxy.objective(torch.tensor(0.5), errors, 0)
    adversarial = F.cross_entropy(proxy.logits(errors.detach()), torch.ones(4, dtype=torch.long))
    assert objective.item() == pytest.approx(0.5 / (1 + adversarial.item() + 1e-5), rel=1e-5)
    objective.backward()
    with torch.no_grad():
        moved = errors - 0.01 * errors.grad / errors.grad.norm()
        before, after = (proxy.objective(torch.tensor(0.5), e, 0) for e in (errors, moved))
    assert after < before
    assert all(p.grad is None for p in proxy.attacker.parameters())
    assert all(p.requires_grad for p in proxy.attacker.parameters())


def test_what_it_sees_of_the_model_is_its_squared_error_on_clean_rows(fresh_target):
    target = fresh_target()
    members, others = rows(target, 7, "member"), rows(target, 6, "other")
    setup = treated(RECIPE, {"smp_lora": ProxyAttacker()})
    module = FinetuneModule(target, members, None, setup, nonmembers=others)
    batch = module.proxy.batches[NONMEMBER].step(0)
    with torch.no_grad():
        found = module._errors_of(others, batch)
        hidden = others.cond.hidden[batch["row"]]
        z0 = others.z0[batch["row"]]
        losses = module.objective.losses(module.unet, z0, batch["t"], batch["eps"], (hidden, {}))
    assert found.shape == z0.shape
    assert torch.allclose(found.flatten(1).mean(1), losses)
    assert not torch.equal(batch["t"], module.proxy.batches[MEMBER].step(0)["t"])


def test_no_rows_for_non_members_is_an_error(data):
    with pytest.raises(MiaError, match="no members"):
        Proxy(ProxyAttacker(), data[0], None, RECIPE, 1000)
