"""What is composed from shared files is what Hydra composes from all."""

from __future__ import annotations

import pytest
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import ConfigCompositionException
from hydra.types import RunMode
from omegaconf import OmegaConf, open_dict

from mia_bench.config.compose import conf_dir, register_schema
from mia_bench.sweep.composition import Composer


@pytest.fixture
def composer():
    register_schema()
    with initialize_config_dir(str(conf_dir()), version_base="1.3", job_name="sweep"):
        loader = GlobalHydra.instance().config_loader()
        yield Composer(loader.load_configuration("config", [], RunMode.MULTIRUN), loader)


def by_hydra(composer: Composer, overrides: list[str]) -> object:
    composed = composer.loader.load_sweep_config(composer.config, overrides)
    with open_dict(composed):
        del composed["hydra"]
    return OmegaConf.to_container(composed)


JOBS = [
    ["attack=loss", "seed=3"],
    ["attack=[clid,loss]", "attack.loss.t=7", "eval.base_rows=[loss]"],
    ["attack=[clid,loss]", "attack.loss.t=9", "eval.base_rows=[]", "paths.outputs='a b, c'"],
    ["mitigation=augment", "model=tiny", "finetune.save_at=[1,2]", "finetune.lr=1e-3"],
    ["experiment=ddpm_openmoji", "finetune.steps=5", "attack=[loss]"],
    ["seed=1", "+finetune.extra=3", "finetune.extra=4"],
    ["attack=loss", "data.sizes.validation=null", "~attack.loss.t"],
    ["attack=loss", "attack.loss={t: 3}", "seed=1", "seed=2"],
]


@pytest.mark.first_look(2)
@pytest.mark.parametrize("overrides", JOBS, ids=" ".join)
def test_a_job_is_what_hydra_composes(composer, overrides):
    expected = by_hydra(composer, overrides)
    for _ in range(2):
        composed = composer.compose(overrides)
        assert OmegaConf.to_container(composed) == expected
        assert OmegaConf.is_struct(composed)


def test_files_are_read_once_for_jobs_that_choose_the_same(composer, monkeypatch):
    loaded = []
    load = composer.loader.load_sweep_config
    monkeypatch.setattr(
        composer.loader, "load_sweep_config", lambda c, o: loaded.append(o) or load(c, o)
    )
    for seed in range(3):
        for attack in ("loss", "mc"):
            composed = composer.compose([f"attack={attack}", f"seed={seed}"])
            assert (composed.seed, list(composed.attack)) == (seed, [attack])
    assert loaded == [["attack=loss"], ["attack=mc"]]


@pytest.mark.first_look(2)
@pytest.mark.parametrize("wrong", ["finetune.stepz=1", "attack=los", "seed=many", "sed=1"])
def test_what_does_not_fit_has_hydras_message(composer, wrong):
    composer.compose(["attack=loss"])
    with pytest.raises(ConfigCompositionException) as raised:
        composer.compose(["attack=loss", wrong])
    with pytest.raises(ConfigCompositionException) as expected:
        by_hydra(composer, ["attack=loss", wrong])
    assert str(raised.value) == str(expected.value)
