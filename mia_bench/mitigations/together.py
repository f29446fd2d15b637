"""Mitigations applied together: their hooks in the order of their names, and what is refused.

A run carries the names of all its mitigations, so that each of them has to count: two that set the
same thing differently, or one that leaves nothing for another to do, are refused.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import combinations
from typing import Any

from mia_bench.config.recipe import Recipe
from mia_bench.mitigations.base import (
    AugmentsImages,
    Checks,
    DrawsRows,
    FiltersRows,
    Mitigation,
    PrivateTraining,
    RewritesCaptions,
    SetsRecipe,
    TakesCaptions,
    TrainingContext,
    TrainingSetup,
    TrainsProxy,
)
from mia_bench.utils.errors import MiaError


def apply_mitigations(
    mitigations: Mapping[str, Mitigation],
    nodes: Mapping[str, Any],
    recipe: Recipe,
    members: int,
    heldout: int,
    devices: int,
    precision: str,
) -> TrainingSetup:
    """Apply the recipe hooks in name order, count in steps, and let every mitigation check.

    Raises:
        MiaError: a contradiction between a mitigation and the rest.
    """
    ordered = {name: mitigations[name] for name in sorted(mitigations)}
    setting = {name: m for name, m in ordered.items() if isinstance(m, SetsRecipe)}
    _check_settings(setting, recipe)
    for mitigation in setting.values():
        recipe = mitigation.recipe(recipe)
    context = TrainingContext(recipe.resolved(members), members, heldout, devices, precision)
    for one in ordered.values():
        if isinstance(one, Checks):
            one.check(context)
    setup = TrainingSetup(context, ordered, nodes)
    _check_adapters(context.recipe)
    _check_together(setup)
    return setup


def _check_settings(setting: Mapping[str, SetsRecipe], recipe: Recipe) -> None:
    """Raises MiaError for two that set a field of the recipe differently: in the other order the
    recipe would be another, so that one of them is lost."""
    for (name, one), (other_name, other) in combinations(setting.items(), 2):
        first, last = one.recipe(other.recipe(recipe)), other.recipe(one.recipe(recipe))
        values = ((field, getattr(first, field), getattr(last, field)) for field in vars(recipe))
        for field, ours, theirs in values:
            if ours == theirs:
                continue
            pair = {name: one, other_name: other}
            outs = [f"or leave it to the other with {key}=null" for key in _yielding(pair, field)]
            raise MiaError(
                f"mitigation={name}+{other_name}: {name} sets finetune.{field}={ours} and "
                f"{other_name} sets it to {theirs}, so that one of them would be lost: "
                f"{', '.join(['leave one of them out', *outs])}."
            )


def _check_adapters(recipe: Recipe) -> None:
    """Raises MiaError for low-rank adapters of random weights, which would stay random."""
    if recipe.from_scratch and recipe.lora_rank is not None:
        raise MiaError(
            f"finetune.from_scratch=true starts from random weights, and adapters of rank "
            f"{recipe.lora_rank} (finetune.lora_rank, or a mitigation's rank or lora_rank) would "
            "leave them as they are: train every weight with lora_rank=null, leave mitigation=lora "
            "out, or fine-tune a trained model."
        )


def _yielding(pair: Mapping[str, SetsRecipe], field: str) -> Iterator[str]:
    """Options of the same name as the recipe's `field` that may be null, for the recipe's own."""
    for name, mitigation in pair.items():
        try:
            replace(mitigation, **{field: None})  # type: ignore[type-var]
        except (TypeError, ValueError):  # no such option, or one that is needed
            continue
        yield f"mitigation.{name}.{field}"


def _check_together(setup: TrainingSetup) -> None:
    """Raises MiaError for mitigations that would each undo what the other promises."""
    couplings = [
        name
        for name, mitigation in setup.mitigations.items()
        if isinstance(mitigation, FiltersRows | DrawsRows | TrainsProxy)
    ]
    if setup.private is not None and couplings:
        raise MiaError(
            f"mitigation={couplings[0]} makes the gradient of a row depend on the other rows of "
            "its step, and DP-SGD's accountant assumes that it does not: leave one of them out."
        )
    for kind, does in (
        (TrainsProxy, "trains a proxy attacker and has an objective of its own"),
        (PrivateTraining, "clips and adds noise in its own way"),
    ):
        several = [name for name, m in setup.mitigations.items() if isinstance(m, kind)]
        if len(several) > 1:
            raise MiaError(f"mitigation={'+'.join(several)}: each {does}: use one of them.")
    _check_banks(setup)
    _check_captions(setup)


def _check_banks(setup: TrainingSetup) -> None:
    """Raises MiaError where some augmentations store views and others encode fresh ones."""
    augments = {n: m for n, m in setup.mitigations.items() if isinstance(m, AugmentsImages)}
    fresh = [name for name, m in augments.items() if m.bank is None]
    stored = [name for name in augments if name not in fresh]
    if fresh and stored:
        raise MiaError(
            f"mitigation={'+'.join(augments)}: {', '.join(fresh)} encodes fresh views at every "
            f"step, so that the bank of {', '.join(stored)} would never be drawn from: use "
            f"mitigation.{stored[0]}.bank=null, or give each of them a bank."
        )


def _check_captions(setup: TrainingSetup) -> None:
    """Raises MiaError where a mitigation of captions works on captions that nothing trains on."""
    rewords = [n for n, m in setup.mitigations.items() if isinstance(m, RewritesCaptions)]
    for i, name in enumerate(rewords):
        if i and isinstance(setup.mitigations[name], TakesCaptions):
            raise MiaError(
                f"mitigation={'+'.join(rewords)}: {name} puts captions of its own in place of "
                f"those of {', '.join(rewords[:i])}, which comes first by name and would be lost: "
                f"leave one of them out, or do to the captions of mitigation.{name}.file what "
                f"{', '.join(rewords[:i])} does."
            )
    reading = [
        n for n, m in setup.mitigations.items() if n in rewords or isinstance(m, FiltersRows)
    ]
    if reading and setup.recipe.p_uncond >= 1:
        raise MiaError(
            f"mitigation={'+'.join(reading)} is about what captions do, and every step trains on "
            "the empty caption: use a probability below 1 (finetune.p_uncond, or "
            "mitigation.caption_dropout.p), or leave it out."
        )
