"""The Model protocol: what every builder of this package has, and what is asked of others."""

from __future__ import annotations

import pytest
from omegaconf import OmegaConf

from mia_bench.attacks.loss import Loss
from mia_bench.config.compose import conf_dir
from mia_bench.config.instantiate import build
from mia_bench.data.openmoji import OpenMoji
from mia_bench.models import Model
from mia_bench.planning.contracts import check_contracts
from mia_bench.utils.errors import MiaError


@pytest.mark.parametrize(
    "path", sorted((conf_dir() / "model").glob("*.yaml")), ids=lambda p: p.stem
)
def test_every_model_of_conf_keeps_the_protocol(path) -> None:
    config = OmegaConf.load(path)
    OmegaConf.update(config, "finetune.seed", 0)  # of conf/config.yaml, which models may refer to
    node = config.model
    if OmegaConf.is_missing(node, "path"):
        node.path = "bundled:tiny"
    model = build(OmegaConf.to_container(node, resolve=True), "model")
    check_contracts({"loss": Loss()}, model, OpenMoji())


def test_a_builder_without_part_of_it_is_refused_by_name() -> None:
    class Half:
        resolution = 64
        finetune = True

    wanted = [name for name in vars(Model) if not name.startswith("_")]
    with pytest.raises(MiaError, match="Half has no base_hash, build, encoder_hash") as refused:
        check_contracts({"loss": Loss()}, Half(), OpenMoji())
    assert all(name in str(refused.value) for name in wanted if callable(getattr(Model, name)))
