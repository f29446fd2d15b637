"""The configuration composes, is checked before anything heavy happens, and explains typos."""

from __future__ import annotations

import pytest
from omegaconf import OmegaConf

from mia_bench.config.compose import conf_dir
from mia_bench.config.schema import TrainerOptions
from mia_bench.planning.experiment import compose
from mia_bench.utils.errors import MiaError

CONF = conf_dir()
ATTACKS = sorted(p.stem for p in (CONF / "attack").glob("*.yaml") if p.stem != "all")
TRAINERS = sorted(p.stem for p in (CONF / "trainer").glob("*.yaml"))
MITIGATIONS = sorted(p.stem for p in (CONF / "mitigation").glob("*.yaml"))
EXPERIMENTS = sorted(p.stem for p in (CONF / "experiment").glob("*.yaml"))


def test_every_attack_option_builds(experiment):
    built = experiment(f"attack=[{','.join(ATTACKS)}]")
    assert built.attacks.keys() == set(ATTACKS)
    for attack in built.attacks.values():
        assert attack.nfe[0] > 0
    assert built.attacks.keys() > experiment("attack=all").attacks.keys()


@pytest.mark.first_look
@pytest.mark.parametrize("choice", [f"trainer={t}" for t in TRAINERS])
def test_every_trainer_option_composes(experiment, choice):
    assert experiment(choice).options.trainer.precision


@pytest.mark.first_look
@pytest.mark.parametrize("name", ["parallel_models", "beside"])
def test_models_in_parallel_have_an_old_name_too(experiment, name):
    """On the command line and in stored configurations; what is stored now has the new one."""
    run = experiment(f"trainer.{name}=false")
    assert not run.options.trainer.parallel_models
    assert experiment().options.trainer.parallel_models
    stored = run.resolved["trainer"]
    assert stored["parallel_models"] is False
    assert "beside" not in stored
    old = OmegaConf.merge(OmegaConf.structured(TrainerOptions), {name: False})
    assert not OmegaConf.to_object(old).parallel_models


@pytest.mark.first_look
@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_experiment_composes(experiment, name):
    assert experiment(f"experiment={name}").attacks


@pytest.mark.first_look(3)
@pytest.mark.parametrize("name", MITIGATIONS)
def test_every_mitigation_builds_under_its_own_name(experiment, name):
    built = experiment(f"mitigation={name}").mitigations
    assert list(built) == ([] if name == "none" else [name])


def test_mitigations_compose_and_take_options(experiment):
    built = experiment(
        "mitigation=[augment,early_stop]", "mitigation.early_stop.patience=7", "attack=loss"
    )
    assert list(built.mitigations) == ["augment", "early_stop"]
    assert built.mitigations["early_stop"].patience == 7


def test_lists_and_single_choices_of_attacks(experiment):
    assert list(experiment("attack=loss").attacks) == ["loss"]
    assert list(experiment("attack=[clid,loss]").attacks) == ["clid", "loss"]
    assert experiment("attack=clid", "attack.clid.alpha=0.3").attacks["clid"].alpha == 0.3


def test_no_attack_at_all_is_refused(experiment):
    with pytest.raises(MiaError, match="no attack is selected"):
        experiment("attack=[]")


def test_some_of_an_experiments_attacks_can_be_selected(experiment):
    """The experiment's options of the others are named as unused; a misspelt name is no attack."""
    built = experiment("experiment=ddpm_openmoji", "attack=[noise_agg,loss]")
    assert list(built.attacks) == list(built.resolved["attack"]) == ["noise_agg", "loss"]
    assert built.attacks["loss"].t == 200
    assert built.unselected == ("mc", "secmi", "pia", "pian")
    with pytest.raises(MiaError, match=r"attack\.nc has no _target_"):
        experiment("attack=loss", "+attack.nc.timesteps=[1]")
    with pytest.raises(MiaError, match="options of mc alone; add attack=mc"):
        experiment("attack=[]", "+attack.mc.timesteps=[1]")


def test_the_resolved_configuration_has_no_interpolations_left(experiment):
    text = OmegaConf.to_yaml(OmegaConf.create(experiment().resolved))
    assert "${" not in text


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("attack=cldi", "there is no attack=cldi. Did you mean 'clid'"),
        ("finetune.step=3", "Did you mean 'finetune.steps'"),
        ("attack=clid,loss", "a sweep over them needs -m"),
        ("seed=often", "seed=often is not valid: Value 'often'"),
    ],
)
def test_a_script_is_told_what_the_command_line_says(word, said):
    with pytest.raises(MiaError, match=said):
        compose(word)
