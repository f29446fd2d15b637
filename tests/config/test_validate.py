"""Values and combinations that cannot be run are refused, with the key and the way out."""

from __future__ import annotations

import pytest

from mia_bench.config.validate import check_finite, check_names
from mia_bench.utils.errors import MiaError


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
        ("finetune.lr=nan", r"finetune\.lr=nan: a finite number"),
        ("finetune.weight_decay=inf", r"finetune\.weight_decay=inf: a finite number"),
        ("finetune.timestep_band=[0.1,nan]", r"finetune\.timestep_band\[1\]=nan: a finite"),
        ("data.sizes.target_member=nan", r"data\.sizes\.target_member=nan: a finite"),
        ("attack.clid.alpha=nan", r"attack\.clid\.alpha=nan: a finite"),
        ("+attack.clid.alpha='nan'", r"attack\.clid\.alpha=nan: a finite"),
        ("finetune.weight_decay=-1", "finetune.weight_decay=-1.0 must be 0 or more"),
        ("finetune.warmup=-1", "finetune.warmup=-1 must be 0 or more"),
        ("finetune.max_grad_norm=-1", "finetune.max_grad_norm=-1.0 must be 0 or more"),
        ("calibration.folds=0", "at least 2 are needed"),
        ("data.max_distance=-1", "0 to 64 bits"),
        ("data.max_rmse=-1", "0 to 255 grey levels, or null"),
        ("data.max_rmse=1e308", "0 to 255 grey levels, or null"),
        ("paths.cache_gb=-1", "0 gigabytes or more, or null"),
    ],
)
def test_bad_values_are_refused_with_their_key(experiment, override, message):
    with pytest.raises(MiaError, match=message):
        experiment(override)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (("mitigation=early_stop", "mitigation.early_stop.patience=0"), "must be positive"),
        (("mitigation=budget", "mitigation.budget.epochs=nan"), r"budget\.epochs=nan: a finite"),
        (("mitigation=budget", "mitigation.budget.epochs=inf"), r"budget\.epochs=inf: a finite"),
        (
            ("mitigation=timesteps_sparse", "mitigation.timesteps_sparse.band=[nan,0.5]"),
            r"timesteps_sparse\.band\[0\]=nan: a finite",
        ),
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


def test_a_base_is_asked_for_only_of_models_that_can_name_one(experiment):
    words = ("model.finetune=false", "calibration=split", "eval.base_calibrated=true")
    with pytest.raises(MiaError, match=r"is known: name it, as in model\.base="):
        experiment("attack=loss", *words)
    with pytest.raises(MiaError, match="is known: leave the comparison out"):
        experiment("attack=loss", "model=ddpm", *words)


@pytest.mark.parametrize("name", ["", ".hidden", "a/b", "../up", "x" * 81, "two words"])
def test_names_that_cannot_be_parts_of_file_names_are_refused(name):
    with pytest.raises(MiaError, match=r"data\.name: '.*' cannot be a name"):
        check_names([("model.name", "tiny"), ("data.name", name)])
    check_names([("data.name", "my-data_1.0")])


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (("calibration=split", "calibration.halves=even"), r"calibration\.halves=even"),
        (("calibration.halves=stratified",), "use calibration=stratified"),
        (("calibration=stratified", "eval.ensemble=true"), r"add eval\.ensemble=false"),
    ],
)
def test_halves_that_make_no_sense_are_refused(experiment, overrides, message):
    with pytest.raises(MiaError, match=message):
        experiment(*overrides)


def test_numbers_are_finite_however_deep_they_lie():
    check_finite({"a": [1, 2.0, {"b": (None, "nan", True)}], "c": 1e308})
    for nested, key in (({"b": [1.0, float("nan")]}, r"x\.b\[1\]=nan"), (-float("inf"), "x=-inf")):
        with pytest.raises(MiaError, match=f"{key}: a finite number"):
            check_finite(nested, "x")
