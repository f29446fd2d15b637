"""The configuration composes, is checked before anything heavy happens, and explains typos."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from mia_bench.config.compose import conf_dir
from mia_bench.config.instantiate import build
from mia_bench.utils.errors import MiaError
from mia_bench.utils.text import nearest

CONF = conf_dir()
ATTACKS = sorted(p.stem for p in (CONF / "attack").glob("*.yaml"))
TRAINERS = sorted(p.stem for p in (CONF / "trainer").glob("*.yaml"))
MITIGATIONS = sorted(p.stem for p in (CONF / "mitigation").glob("*.yaml"))
EXPERIMENTS = sorted(p.stem for p in (CONF / "experiment").glob("*.yaml"))


@pytest.mark.parametrize("name", ATTACKS)
def test_every_attack_option_builds(experiment, name):
    found = experiment(f"attack={name}")
    assert found.attacks
    for attack in found.attacks.values():
        assert attack.nfe[0] > 0


@pytest.mark.parametrize("choice", [f"trainer={t}" for t in TRAINERS])
def test_every_trainer_option_composes(experiment, choice):
    assert experiment(choice).options.trainer.precision


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_experiment_composes(experiment, name):
    assert experiment(f"experiment={name}").attacks


@pytest.mark.parametrize("name", MITIGATIONS)
def test_every_mitigation_builds_under_its_own_name(experiment, name):
    found = experiment(f"mitigation={name}").mitigations
    assert list(found) == ([] if name == "none" else [name])


def test_mitigations_compose_and_take_options(experiment):
    found = experiment(
        "mitigation=[augment,early_stop]", "mitigation.early_stop.patience=7", "attack=loss"
    )
    assert list(found.mitigations) == ["augment", "early_stop"]
    assert found.mitigations["early_stop"].patience == 7


def test_lists_and_single_choices_of_attacks(experiment):
    assert list(experiment("attack=loss").attacks) == ["loss"]
    assert list(experiment("attack=[clid,loss]").attacks) == ["clid", "loss"]
    assert experiment("attack=clid", "attack.clid.alpha=0.3").attacks["clid"].alpha == 0.3


def test_lists_become_tuples_so_that_attacks_stay_hashable(experiment):
    attack = experiment("attack=mc").attacks["mc"]
    assert attack.timesteps == (440, 450, 460)
    assert isinstance(hash(attack), int)


def test_one_seed_gives_three_unless_they_are_set(experiment):
    options = experiment("seed=5", "eval.seed=9").options
    assert (options.data.split_seed, options.finetune.seed, options.eval.seed) == (5, 5, 9)


def test_unknown_option_of_an_attack_names_the_nearest(experiment):
    with pytest.raises(
        MiaError, match=r"attack\.clid has no option 'alpah'\. Did you mean 'alpha'"
    ):
        experiment("attack=clid", "+attack.clid.alpah=0.3")


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("attack.clid.alpha=high", r"attack\.clid\.alpha='high' is not valid"),
        ("attack.clid.alpha=1.5", "must lie in"),
        ("attack.clid.reduction=thrids", r"attack\.clid\.reduction"),
        ("attack.clid.timesteps=[]", "at least one timestep"),
        ("calibration.kind=shadwo", "Did you mean 'shadow'"),
        ("model.finetune=false", "calibration=split"),
        ("finetune.steps=0", "must be positive"),
        ("finetune.accumulate=5", "multiple of finetune.accumulate"),
        ("finetune.p_uncond=2", "probability"),
        ("finetune.save_at=[400]", "outside 1 to finetune.steps=300"),
        ("checkpoint=77", r"Saved steps: \[300\]"),
        ("eval.resamples=10", "at least 100"),
        ("eval.dtype=float61", "Did you mean 'float16'"),
        ("trainer.compile=reduce", "Did you mean 'reduce-overhead'"),
        ("trainer.devices=-1", "say how many"),
        ("trainer.precision=bf16-true", "Did you mean 'bf16-mixed'"),
        ("trainer.strategy=fsdp", "use auto or ddp"),
        ("trainer.strategy=ddp_spawn", "use auto or ddp"),
        ("trainer.workers=-1", "0 or more"),
        ("model.chunk=many", r"model\.chunk"),
        ("eval.utility_images=1", "at least 2"),
        ("calibration.shadow_mitigation=nnone", "Did you mean 'none'"),
        ("finetune.epochs=3", "both are given"),
        ("finetune.steps=null", "neither is given"),
        ("finetune.optimizer=adam", "Known: adamw"),
    ],
)
def test_bad_values_are_refused_with_their_key(experiment, override, message):
    with pytest.raises(MiaError, match=message):
        experiment(override)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (("mitigation=early_stop", "mitigation.early_stop.patience=0"), "must be positive"),
        (("mitigation=dp", "mitigation.dp.noise=1"), "one of noise and epsilon"),
        (("mitigation=augment", "mitigation.augment.bank=1"), "same image at every step"),
        (("mitigation=lora", "+mitigation.lora.rnak=3"), "Did you mean 'rank'"),
        (
            ("mitigation=ema", "model.finetune=false", "calibration=split"),
            "mitigation=ema cannot be applied",
        ),
        (("calibration=split", "calibration.shadow_mitigation=none"), "split has none"),
    ],
)
def test_mitigations_that_make_no_sense_are_refused(experiment, overrides, message):
    with pytest.raises(MiaError, match=message):
        experiment(*overrides)


def test_no_attack_at_all_is_refused(experiment):
    with pytest.raises(MiaError, match="no attack is selected"):
        experiment("attack=[]")


def test_build_names_what_is_missing_or_wrong():
    with pytest.raises(MiaError, match=r"data\.source has no _target_"):
        build({"keywords": 3}, "data.source")
    with pytest.raises(MiaError, match="cannot be imported"):
        build({"_target_": "mia_bench.data.nowhere.Nothing"}, "data.source")
    target = "mia_bench.models.stable_diffusion.StableDiffusion"
    with pytest.raises(MiaError, match=r"model\.resolution is needed"):
        build({"_target_": target, "path": "x"}, "model")


def test_an_attack_of_another_contract_names_what_it_lacks(experiment, tmp_path, monkeypatch):
    """As one from outside the package may be, written for an older version."""
    (tmp_path / "older.py").write_text(
        "class Older:\n"
        "    access, version, statistics, nfe = 2, 1, True, (1, 0)\n"
        "    def features(self, target, batch): ...\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(MiaError, match=r"attack.older: Older has no asks_at, score, which every"):
        experiment("attack=[]", "+attack={older: {_target_: older.Older}}")


def test_nearest_falls_back_to_the_list():
    assert nearest("zzz", ["alpha", "beta"]) == "Known: alpha, beta."


def test_the_resolved_configuration_has_no_interpolations_left(experiment):
    text = OmegaConf.to_yaml(OmegaConf.create(experiment().resolved))
    assert "${" not in text


def test_composing_does_not_import_torch(run_python):
    code = (
        "import sys; from mia_bench.config.compose import register_schema; register_schema();"
        "import mia_bench.config.error_messages, mia_bench.cli.run; print('torch' in sys.modules)"
    )
    assert run_python("-c", code).stdout.strip() == "False"


def test_conf_lies_beside_or_inside_the_package():
    assert (CONF / "config.yaml").is_file()
    assert CONF.parent in (Path(sys.modules["mia_bench"].__file__).parents[i] for i in (0, 1))
