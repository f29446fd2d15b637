"""Every family as diffusers itself reads it, and through the whole pipeline."""

from __future__ import annotations

import shutil
from dataclasses import replace

import pandas as pd
import pytest
import torch
from diffusers import DDIMScheduler, StableDiffusionPipeline, StableDiffusionXLPipeline
from safetensors.torch import load_file, save_file

from mia_bench.config.recipe import Recipe
from mia_bench.execution.run import execute
from mia_bench.mitigations import apply_mitigations
from mia_bench.models.lora.training import add_lora, save_lora
from mia_bench.models.stable_diffusion import StableDiffusion
from mia_bench.training.batches import EncodedRows
from mia_bench.training.module import FinetuneModule
from mia_bench.utils.errors import MiaError, Missing

FAMILIES = ("sd1", "sd2", "sdxl")
CAPTIONS = ["a small red boat", "", "two dogs " * 60]


@pytest.fixture
def model(narrow):
    return lambda which, **options: StableDiffusion(str(narrow(which)), 64, **options)


def reference(folder, family):
    kind = StableDiffusionXLPipeline if family == "sdxl" else StableDiffusionPipeline
    pipe = kind.from_pretrained(folder)
    pipe.set_progress_bar_config(disable=True)
    return pipe


def conditions(pipe, family):
    """(hidden, extra) of CAPTIONS by diffusers' own pipeline."""
    if family != "sdxl":
        hidden, _ = pipe.encode_prompt(CAPTIONS, "cpu", 1, do_classifier_free_guidance=False)
        return hidden, {}
    hidden, null, pooled, null_pooled = pipe.encode_prompt(CAPTIONS, device="cpu")
    hidden[1], pooled[1] = null[1], null_pooled[1]
    sizes = torch.tensor([[64.0, 64, 0, 0, 64, 64]] * 3)
    return hidden, {"text_embeds": pooled, "time_ids": sizes}


@pytest.mark.first_look
@pytest.mark.parametrize("family", FAMILIES)
def test_latents_text_and_noise_are_those_of_diffusers(family, model, narrow):
    target = model(family).build(model(family).load_unet(), seed=0)
    pipe = reference(narrow(family), family)
    image = torch.rand(3, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1
    t = torch.tensor([700, 20, 300])
    with torch.no_grad():
        z0 = pipe.vae.encode(image).latent_dist.mode() * pipe.vae.config.scaling_factor
        hidden, extra = conditions(pipe, family)
        raw = pipe.unet(z0, t, hidden, added_cond_kwargs=extra).sample
        cond = target.embed(CAPTIONS)
        assert torch.allclose(target.encode(image), z0, atol=1e-5)
        assert torch.allclose(cond.hidden, hidden, atol=1e-5)
        assert cond.extra.keys() == extra.keys()
        for name, value in extra.items():
            assert torch.allclose(cond.extra[name], value, atol=1e-5)
        eps = target.predict_noise(z0, t, cond)
    if family == "sd2":
        scheduler = DDIMScheduler.from_config(pipe.scheduler.config, clip_sample=False)
        scheduler.set_timesteps(1000)
        for row, step in enumerate(t.tolist()):
            x0 = scheduler.step(raw[row], step, z0[row]).pred_original_sample
            a, b = target.a[step], target.b[step]
            assert torch.allclose(eps[row], (z0[row] - a * x0) / b, atol=1e-4)
    else:
        assert torch.allclose(eps, raw, atol=1e-5)


def test_nothing_is_loaded_before_it_is_used(model, monkeypatch):
    target = model("sd1").build(model("sd1").load_unet(), seed=0)
    codec, text = target.latents, target.text
    assert [codec.encoder, codec.decoder, text.encoder] == [None] * 3
    z0 = target.encode(torch.zeros(1, 3, 64, 64))
    assert codec.encoder.decoder is None
    assert codec.decoder is None
    loads = []
    load = codec.load
    monkeypatch.setattr(codec, "load", lambda: loads.append(1) or load())
    target.decode(z0)
    target.decode(z0)
    target.encode(torch.zeros(1, 3, 64, 64))
    assert loads == [1]
    assert codec.decoder.encoder is None
    target.embed(["a"])
    assert text.encoder is not None


@pytest.mark.long
def test_pieces_of_a_full_pass_agree_with_the_whole(model, narrow):
    """Encoding and decoding by halves gives what the whole autoencoder gives."""
    target = model("sdxl").build(model("sdxl").load_unet(), seed=0)
    vae = reference(narrow("sdxl"), "sdxl").vae
    image = torch.rand(2, 3, 64, 64) * 2 - 1
    with torch.no_grad():
        z0 = vae.encode(image).latent_dist.mode()
        expected = vae.decode(z0).sample.clamp(-1, 1)
    assert torch.allclose(target.decode(target.encode(image)), expected, atol=1e-5)


@pytest.mark.long
@pytest.mark.parametrize("family", FAMILIES)
def test_half_precision_scores_and_trains_in_float32(family, model):
    half = model(family, dtype="bfloat16")
    assert half.load_unet().dtype == torch.bfloat16
    assert half.load_unet(train=True).dtype == torch.float32
    target = half.build(half.load_unet(), seed=0)
    whole = model(family).build(model(family).load_unet(), seed=0)
    z = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        one = target.predict_noise(z, 500, target.embed(["a", "b"]))
        two = whole.predict_noise(z, 500, whole.embed(["a", "b"]))
    assert one.dtype == torch.float32
    assert torch.allclose(one, two, atol=0.05)  # eight bits of mantissa
    assert not torch.equal(one, two)
    assert half.encoder_hash() != model(family).encoder_hash()
    assert half.base_hash() == model(family).base_hash()


def test_a_dropped_caption_drops_the_pooled_text_too(model):
    builder = model("sdxl")
    target = builder.build(builder.load_unet(), seed=0)
    recipe = Recipe(steps=1, batch_size=2, lr=1e-3)
    rows = EncodedRows(
        ("a", "b"), torch.zeros(2, 4, 8, 8), target.embed(["a red boat", "two dogs"])
    )
    module = FinetuneModule(
        target, rows, rows, apply_mitigations({}, {}, recipe, 2, 2, 1, "32-true")
    )
    hidden, extra = module.objective.text(rows.cond, torch.arange(2), torch.tensor([True, False]))
    null = target.embed([""])
    for found, dropped, kept in (
        (hidden, null.hidden, rows.cond.hidden),
        (extra["text_embeds"], null.extra["text_embeds"], rows.cond.extra["text_embeds"]),
    ):
        assert torch.equal(found[0], dropped[0])
        assert torch.equal(found[1], kept[1])
    assert torch.equal(extra["time_ids"], rows.cond.extra["time_ids"])


def test_slicing_is_the_same_function(model):
    sliced = model("sd1", attention_slicing=True, vae_slicing=True)
    one, two = (m.build(m.load_unet(), seed=0) for m in (sliced, model("sd1")))
    image = torch.rand(2, 3, 64, 64) * 2 - 1
    with torch.no_grad():
        z0 = two.encode(image)
        assert torch.allclose(one.encode(image), z0, atol=1e-5)
        cond = two.embed(["a", "b"])
        eps = [target.predict_noise(z0, 300, cond) for target in (one, two)]
    assert torch.allclose(*eps, atol=1e-5)
    assert sliced.encoder_hash() == model("sd1").encoder_hash()
    assert model("sd1", vae_tiling=True).encoder_hash() != model("sd1").encoder_hash()


def test_variants_and_shards_load_and_are_hashed(pipelines, tmp_path):
    folder = pipelines.save_pipeline(
        tmp_path / "m", "sd1", dtype=torch.float16, variant="fp16", shard="200KB"
    )
    assert len(list((folder / "unet").glob("*.safetensors"))) > 1
    model = StableDiffusion(str(folder), 64, variant="fp16")
    before = model.base_hash()
    assert model.load_unet().dtype == torch.float32
    model.build(model.load_unet(), seed=0).embed(["a"])
    with pytest.raises(Missing, match="no safetensors weights"):
        replace(model, variant=None).base_hash()
    shard = sorted((folder / "unet").glob("*.safetensors"))[-1]
    data = bytearray(shard.read_bytes())
    data[-1] ^= 1
    shard.write_bytes(data)
    assert model.base_hash() != before
    shard.unlink()
    with pytest.raises(Missing, match="shards are missing"):
        model.base_hash()


@pytest.mark.first_look
@pytest.mark.parametrize("family", ["sd2", "sdxl"])
def test_both_forms_of_a_tokenizer_give_the_same_ids(family, pipelines, narrow, model, tmp_path):
    shutil.copytree(narrow(family), tmp_path / "old")
    for part in ("tokenizer", "tokenizer_2"):
        if (tmp_path / "old" / part).is_dir():
            pipelines.with_old_tokenizer(tmp_path / "old", part)
    old = replace(model(family), path=str(tmp_path / "old"))
    one, two = (m.build(m.load_unet(), seed=0).embed(CAPTIONS) for m in (old, model(family)))
    assert torch.equal(one.hidden, two.hidden)


def test_v_prediction_and_schedules_are_part_of_the_base(model, narrow, tmp_path):
    shutil.copytree(narrow("sd1"), tmp_path / "v")
    path = tmp_path / "v" / "scheduler" / "scheduler_config.json"
    text = path.read_text()
    moved = replace(model("sd1"), path=str(tmp_path / "v"))
    assert moved.base_hash() == model("sd1").base_hash()
    path.write_text(text.replace('"epsilon"', '"v_prediction"'))
    assert moved.base_hash() != model("sd1").base_hash()
    assert moved.build(moved.load_unet(), seed=0).prediction_type == "v_prediction"


def test_another_family_is_refused_by_name(model, narrow, tmp_path):
    with pytest.raises(MiaError, match=r"is a StableDiffusionXLPipeline.*model=sdxl"):
        model("sdxl", family="StableDiffusionPipeline").base_hash()
    shutil.copytree(narrow("sd1"), tmp_path / "other")
    index = tmp_path / "other" / "model_index.json"
    index.write_text(index.read_text().replace("StableDiffusionPipeline", "FluxPipeline"))
    with pytest.raises(MiaError, match=r"is a FluxPipeline: use model=flux_dev model\.path="):
        replace(model("sd1"), path=str(tmp_path / "other")).base_hash()
    with pytest.raises(MiaError, match="multiple of 8"):
        replace(model("sd1"), resolution=60).build(model("sd1").load_unet(), seed=0)


def lora_b(unet):
    """Fill what training would have filled."""
    generator = torch.Generator().manual_seed(0)
    for name, parameter in unet.named_parameters():
        if "lora_B" in name:
            parameter.data = torch.randn(parameter.shape, generator=generator)


TEXT_LAYER = "text_model.encoder.layers.0.self_attn.q_proj"


@pytest.fixture
def adapters(model, tmp_path):
    """A LoRA of an SDXL U-Net and of its second text encoder, as diffusers' trainers write it."""
    unet = model("sdxl").load_unet()
    add_lora(unet, 2)
    lora_b(unet)
    save_lora(unet, tmp_path)
    matrices = load_file(tmp_path / "pytorch_lora_weights.safetensors")
    for name, shape in (("lora_A", (2, 24)), ("lora_B", (24, 2))):
        matrices[f"text_encoder_2.{TEXT_LAYER}.{name}.weight"] = torch.randn(shape)
    save_file(matrices, tmp_path / "both.safetensors")
    return tmp_path / "both.safetensors"


def changed(model, encoder=1):
    """What adapters added to the adapted layer of a text encoder."""
    weights = []
    for builder in (model, replace(model, lora=None)):
        target = builder.build(builder.load_unet(), seed=0)
        target.embed(["a"])
        parts = dict(target.text.encoders[encoder].named_modules())
        weights.append((parts.get(TEXT_LAYER) or parts[TEXT_LAYER[11:]]).weight)
    return weights[0] - weights[1]


@pytest.mark.long
def test_adapters_on_the_base_are_the_base(model, narrow, adapters):
    tuned, plain = model("sdxl", lora=str(adapters)), model("sdxl")
    pipe = reference(narrow("sdxl"), "sdxl")
    pipe.unet.load_lora_adapter(load_file(adapters), prefix="unet")
    z = torch.randn(3, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        hidden, extra = conditions(pipe, "sdxl")
        expected = pipe.unet(z, 500, hidden, added_cond_kwargs=extra).sample
        found = tuned.load_unet()(z, 500, hidden, added_cond_kwargs=extra).sample
    assert torch.allclose(found, expected, atol=1e-3)
    matrices = load_file(adapters)
    a, b = (matrices[f"text_encoder_2.{TEXT_LAYER}.{n}.weight"] for n in ("lora_A", "lora_B"))
    assert torch.allclose(changed(tuned), b @ a, atol=1e-5)
    assert tuned.base_hash() != plain.base_hash()
    assert tuned.encoder_hash() == plain.encoder_hash()


def test_kohyas_names_and_alphas_are_read(model, adapters, tmp_path):
    matrices = load_file(adapters)
    a, b = (matrices[f"text_encoder_2.{TEXT_LAYER}.{n}.weight"] for n in ("lora_A", "lora_B"))
    name = "lora_te2_" + TEXT_LAYER.replace(".", "_")
    unet = "lora_unet_down_blocks_1_attentions_0_transformer_blocks_0_attn1_to_q"
    kohya = {
        f"{name}.lora_down.weight": a,
        f"{name}.lora_up.weight": b,
        f"{unet}.lora_down.weight": torch.randn(2, 8),
        f"{unet}.lora_up.weight": torch.zeros(8, 2),
        **{f"{key}.alpha": torch.tensor(1.0) for key in (name, unet)},
    }
    save_file(kohya, tmp_path / "kohya.safetensors")
    tuned = model("sdxl", lora=str(tmp_path / "kohya.safetensors"))
    assert torch.allclose(changed(tuned), b @ a / 2, atol=1e-5)


@pytest.mark.long
def test_adapters_of_another_text_encoder_are_refused(model, adapters):
    tuned = model("sd1", lora=str(adapters))
    with pytest.raises(MiaError, match=r"both\.safetensors"):
        tuned.load_unet()


OVERRIDES = (
    "attack=[clid,pia,noise_agg]",
    "model.resolution=64",
    "model.chunk=64",
    "eval.batch_size=32",
    "finetune.steps=2",
    "finetune.epochs=null",
    "finetune.batch_size=2",
    "finetune.lora_rank=null",
    "data.sizes.target_member=4",
    "data.sizes.target_nonmember=4",
    "data.sizes.shadow_member=12",
    "data.sizes.shadow_nonmember=12",
    "eval.blind_rows=false",
    "eval.base_rows=[]",
)


@pytest.fixture(scope="module")
def outputs(tmp_path_factory):
    """One folder for all runs, which share the split."""
    return tmp_path_factory.mktemp("outputs")


@pytest.mark.long
@pytest.mark.parametrize(
    ("name", "family", "more"),
    [
        ("sd15", "sd1", ()),
        pytest.param("sd21", "sd2", (), marks=pytest.mark.long),
        pytest.param(
            *("sdxl", "sdxl", ("finetune.lora_rank=2", "finetune.lr=1e-2")), marks=pytest.mark.long
        ),
    ],
)
def test_the_public_names_run_with_only_the_path_overridden(
    small, outputs, narrow, name, family, more
):
    overrides = {o.partition("=")[0]: o for o in (*OVERRIDES, *more)}.values()
    run = small(f"model={name}", f"model.path={narrow(family)}", *overrides, outputs=outputs)
    results = {run: (metrics, folder) for run, metrics, folder in execute(run).results}
    assert set(results) == {"clid", "pia", "noise_agg"}
    for _, folder in results.values():
        scores = pd.read_parquet(folder / "scores.parquet")
        assert scores.score.notna().all()
        assert scores.score.nunique() > 4
    key = next(iter(results.values()))[1].parent.parent.name
    saved = {p.name for p in (outputs / "targets" / key / "steps" / "2").glob("*.safetensors")}
    lora = "finetune.lora_rank=2" in overrides
    assert saved == {
        "pytorch_lora_weights.safetensors" if lora else "diffusion_pytorch_model.safetensors"
    }


def test_a_model_is_audited_as_it_is(small, outputs, narrow, adapters):
    run = small(
        "model=sdxl",
        f"model.path={narrow('sdxl')}",
        f"model.lora={adapters}",
        "model.finetune=false",
        "data.random_labels=true",
        "calibration=split",
        *(o for o in OVERRIDES if not o.startswith(("finetune", "data.sizes.target"))),
        "data.sizes.target_member=20",
        "data.sizes.target_nonmember=20",
        outputs=outputs,
    )
    before = set((outputs / "targets").glob("*"))
    assert len(execute(run).results) == 3
    assert set((outputs / "targets").glob("*")) == before
