"""Every attack of conf/attack by name, for tests that hold for each; new yamls are found."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

import pytest
from omegaconf import OmegaConf

from mia_bench.attacks import Attack, query_fields
from mia_bench.config.compose import conf_dir

FILES = sorted((conf_dir() / "attack").glob("*.yaml"))
NODES: dict[str, Any] = {
    name: node
    for path in FILES
    for name, node in OmegaConf.to_container(OmegaConf.load(path), resolve=True).items()  # type: ignore[union-attr]
    if isinstance(node, Mapping) and "_target_" in node
}

# Variants of a class whose cheaper ones stand beside them, and what asks most: `make test-rest`.
SECOND_LOOKS = {
    *("clid_gaussian", "clid_importance", "clid_null", "drc", "drc_attention", "drc_face"),
    *("drc_full", "drc_hole", "drc_mse", "drc_spread", "drc_tasks", "drc_whole", "gen_sim_vec"),
    *("gen_sim_views", "gsa2", "img2img_vec", "loss5", "loss_randommask", "mc15", "mc15_bias"),
    *("mc_full", "mofit_lite", "noise_agg_ii", "noise_agg_iii", "noise_agg_null"),
    *("noise_agg_relative", "noise_agg_size", "noise_agg_tuned", "noise_probe", "pfami_nns"),
    *("pfami_paired", "pia_randommask", "pian", "secmi100", "secmi_nns", "secmi_pullback"),
    *("secmi_randommask", "sima_randommask"),
}
QUICK = {"clid", "loss", "mc_bias", "pia", "rf_mc", "sima"}
"""Of several kinds, and cheap: enough where test_attack_contract.py asks the others as well."""


def parameters(names: Iterable[str], also_long: Collection[str] = ()) -> list[Any]:
    """`names` in order, for parametrize: second looks and `also_long` are marked long."""
    long = {*SECOND_LOOKS, *also_long}
    return [
        pytest.param(name, marks=pytest.mark.long if name in long else ()) for name in sorted(names)
    ]


def question(attack: Attack) -> str:
    """What decides an attack's features: attacks that differ in `score` alone share it."""
    return f"{type(attack).__qualname__} {query_fields(attack)}"
