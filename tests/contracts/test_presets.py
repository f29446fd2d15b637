"""What a model or experiment word stands for, value by value, and the figures of the papers."""

from __future__ import annotations

import dataclasses
import re
from importlib import import_module

import pytest
import yaml

from mia_bench.config.compose import conf_dir
from mia_bench.config.schema import LATER_SOURCE_OPTIONS
from mia_bench.models.hub import PINNED_COMMITS, names

CONF = conf_dir()
EXPERIMENTS = sorted(p.stem for p in (CONF / "experiment").glob("*.yaml"))
PUBLISHED = [name for name in EXPERIMENTS if name != "gap" and name.startswith(
    ("clid", "noise_agg", "drc", "copymark", "secmi")
)]  # fmt: skip
CLID_STEPS = {  # arXiv 2405.14800: optimiser steps, members, hold-outs
    "clid_coco_over": (150_000, 2500, 2500),
    "clid_coco_real": (50_000, 2500, 2500),
    "clid_flickr_over": (150_000, 2500, 2500),
    "clid_flickr_real": (200_000, 10_000, 10_000),
    "clid_pokemon_over": (15_000, 416, 400),
    "clid_pokemon_real": (7_500, 416, 400),
}


def test_sd15_on_mscoco_is_a_light_budget(experiment):
    run = experiment("model=sd15", "data=mscoco")
    recipe, model = run.options.finetune.resolved(2500), run.model
    assert (recipe.total, recipe.batch_size, recipe.accumulate) == (12_500, 4, 1)  # 20 epochs
    assert (recipe.lr, recipe.warmup, recipe.weight_decay, recipe.max_grad_norm) == (
        1e-5,
        0,
        0.01,
        1,
    )
    assert (recipe.ema_decay, recipe.p_uncond, recipe.lora_rank) == (0.9999, 0.0, None)
    assert recipe.gradient_checkpointing
    assert (model.resolution, model.dtype, model.chunk) == (512, "float32", "auto")
    assert model.finetune
    assert model.path == "stable-diffusion-v1-5/stable-diffusion-v1-5"
    assert run.options.data.sizes["target_member"] == 2500
    assert run.options.trainer.precision == "32-true"


@pytest.mark.parametrize(
    ("name", "path", "resolution", "lora_rank", "lr"),
    [
        ("sd14", "CompVis/stable-diffusion-v1-4", 512, None, 1e-5),
        ("sd21", "stabilityai/stable-diffusion-2-1", 768, None, 1e-5),
        ("sdxl", "stabilityai/stable-diffusion-xl-base-1.0", 1024, 64, 1e-4),
    ],
)
def test_other_models(experiment, name, path, resolution, lora_rank, lr):
    run = experiment(f"model={name}", "data=mscoco")
    recipe = run.options.finetune
    assert (run.model.path, run.model.resolution) == (path, resolution)
    assert (recipe.epochs, recipe.batch_size, recipe.lora_rank, recipe.lr) == (20, 4, lora_rank, lr)


def test_any_directory_and_any_adapters(experiment):
    run = experiment("model=diffusers", "model.path=/somewhere", "model.lora=a/b")
    assert (run.model.path, run.model.lora, run.model.family) == ("/somewhere", "a/b", None)


@pytest.mark.parametrize("name", ["sd14", "sd15", "sd21", "sdxl"])
def test_hub_ids_are_pinned(experiment, name):
    model = experiment(f"model={name}").model
    assert model.revision == "pinned"
    assert re.fullmatch("[0-9a-f]{40}", PINNED_COMMITS[model.path])
    assert names(model.path)[0] == model.path


@pytest.mark.parametrize("name", CLID_STEPS)
def test_clids_recipes_are_the_papers(experiment, name):
    run = experiment(f"experiment={name}")
    options, recipe = run.options, run.options.finetune
    steps, members, heldout = CLID_STEPS[name]
    assert (recipe.steps, recipe.epochs) == (steps, None)
    assert (recipe.batch_size // recipe.accumulate, recipe.accumulate) == (1, 4)
    assert (recipe.lr, recipe.warmup, recipe.max_grad_norm, recipe.ema_decay) == (
        1e-5,
        0,
        1,
        0.9999,
    )
    assert (recipe.optimizer, recipe.weight_decay, recipe.lora_rank) == ("adamw", 0.01, None)
    assert options.trainer.precision == "16-mixed"
    assert run.model.path == "CompVis/stable-diffusion-v1-4"
    sizes = options.data.sizes
    assert (sizes["target_member"], sizes["target_nonmember"]) == (members, heldout)
    assert options.calibration.kind == ("split" if "pokemon" in name else "shadow")
    real = name.endswith("real")
    (augment,) = run.mitigations.values()
    assert (augment.crop, augment.flip) == (1.0, 0.5 if real else 0.0)
    assert list(run.attacks) == ["loss", "pia", "mc", "secmi", "pfami", "clid", "clid_vec"]
    assert f"table {2 if real else 1}" in options.published["source"]


@pytest.mark.parametrize("name", ["clid_laion_mi", "copymark_laion_mi", "noise_agg_sd15"])
def test_audits_train_nothing(experiment, name):
    run = experiment(f"experiment={name}")
    assert not run.model.finetune
    assert run.options.calibration.kind == "split"
    assert run.model.path == "stable-diffusion-v1-5/stable-diffusion-v1-5"
    rows = 1000 if name == "noise_agg_sd15" else 2500
    assert run.options.data.sizes["target_nonmember"] == rows


def test_faces_are_hidden_where_faces_are(experiment):
    run = experiment("experiment=drc_faces")
    assert run.attacks["drc"].place == run.attacks["drc_mse"].place == "face"
    assert run.options.data.name == "celeba_hq"


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_figures_are_complete_and_attacked(experiment, name):
    """Every figure is a share, belongs to an attack of the run, and says where it is from."""
    run = experiment(f"experiment={name}")
    published = run.options.published
    assert set(published) == {"source", "comparable", "notes", "attacks"}
    assert "arXiv" in published["source"]
    assert set(published["attacks"]) <= set(run.attacks)
    for figures in published["attacks"].values():
        assert set(figures) <= {"asr", "auroc", "tpr_at_fpr_0_01", "tpr_at_fpr_0_001"}
        assert all(0 < value < 1 for value in figures.values())
    assert run.resolved["published"] == published


def test_a_few_figures_as_printed(experiment):
    def of(name, attack):
        return experiment(f"experiment={name}").options.published["attacks"][attack]

    clid = {"asr": 0.8888, "auroc": 0.9613, "tpr_at_fpr_0_01": 0.6752}
    assert of("clid_coco_real", "clid") == clid
    assert of("clid_pokemon_over", "secmi")["tpr_at_fpr_0_01"] == 0.0936
    assert of("noise_agg_sd15", "noise_agg")["auroc"] == 0.661
    assert of("copymark_laion_mi", "pfami")["auroc"] == 0.51


def test_every_model_yaml_says_the_same_words():
    """Of one builder all but the bundled model offer the same options, so that what is learned for
    one holds."""
    found = {}
    for path in (CONF / "model").glob("*.yaml"):
        if path.stem != "tiny":
            model = yaml.safe_load(path.read_text(encoding="utf-8"))["model"]
            words = frozenset(set(model) - {"family"})
            found.setdefault(model["_target_"], {}).setdefault(words, []).append(path.stem)
    assert {"mia_bench.models.dit.builder.DiffusionTransformer"} < found.keys()
    for variants in found.values():
        assert len(variants) == 1, variants


def test_data_yamls_offer_who_is_a_member_and_links_where_their_source_reads_them():
    """Without the key in the yaml, Hydra refuses data.source.member=<column>."""
    checked, absent = set(), []
    for path in (CONF / "data").glob("*.yaml"):
        source = yaml.safe_load(path.read_text(encoding="utf-8"))["source"]
        module, _, name = source["_target_"].rpartition(".")
        fields = {field.name for field in dataclasses.fields(getattr(import_module(module), name))}
        for option in fields & set(LATER_SOURCE_OPTIONS):
            checked.add(path.stem)
            if source.get(option, ...) != LATER_SOURCE_OPTIONS[option]:
                absent.append(f"{path.stem}: {option}")
    assert {"celeba_hq", "ffhq", "given", "imagefolder", "parquet", "pokemon"} <= checked
    assert absent == []
