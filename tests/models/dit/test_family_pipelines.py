"""Every family against diffusers: text, latents, sampling and the training step of its script."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch
from dit_pipelines import FAMILIES, FLOW, SIDE
from torch import Tensor

from mia_bench.config.recipe import Recipe
from mia_bench.mitigations import apply_mitigations
from mia_bench.models.dit.builder import DiffusionTransformer
from mia_bench.target import Target
from mia_bench.target.generation import euler
from mia_bench.training.batches import EncodedRows
from mia_bench.training.module import FinetuneModule

CAPTIONS = ["a small red boat", "two dogs"]
STEPS = 4
SHAPE = (4, 8, 8)

Made = tuple[Target, Any, DiffusionTransformer]


@pytest.fixture(scope="module")
def made(saved_dit: Callable[[str], Path]) -> Callable[[str], Made]:
    """made(family): (our target, diffusers' pipeline, our builder), of one folder."""
    cache: dict[str, Made] = {}

    def build(family: str) -> Made:
        if family not in cache:
            folder = saved_dit(family)
            model = builder(folder, family)
            model.base_hash()
            pipe = diffusers.DiffusionPipeline.from_pretrained(folder)
            pipe.set_progress_bar_config(disable=True)
            cache[family] = model.build(model.load_unet(), seed=0), pipe, model
        return cache[family]

    return build


def builder(folder: Path, family: str, **options: Any) -> DiffusionTransformer:
    guidance = 1.0 if family == "flux_dev" else None
    return DiffusionTransformer(
        str(folder), SIDE.get(family, 16), chunk=8, guidance=guidance, **options
    )


def noise(rows: int, seed: int = 0) -> Tensor:
    return torch.randn(rows, *SHAPE, generator=torch.Generator().manual_seed(seed))


def packs(family: str) -> bool:
    return family.startswith(("flux_", "qwen"))


def pipeline_latents(pipe: Any, family: str, z: Tensor) -> Tensor:
    """Latents (B, *SHAPE) that the whole pipeline makes of the noise `z`, without guidance."""
    side = SIDE.get(family, 16)
    start = diffusers.FluxPipeline._pack_latents(z, len(z), 4, 8, 8) if packs(family) else z
    options: dict[str, Any] = {
        "height": side,
        "width": side,
        "num_inference_steps": STEPS,
        "latents": start,
        "output_type": "latent",
        "guidance_scale": 1.0,
    }
    if family == "z_image":
        options["guidance_scale"] = 0.0
    if family.startswith("qwen"):
        options.pop("guidance_scale")
    if family == "sana":  # checks sizes, and takes the latents as they are
        options |= {"height": 32, "width": 32}
    if family in ("sana", "pixart_alpha", "pixart_sigma"):
        options |= {"use_resolution_binning": False, "clean_caption": False}
    images: Tensor = pipe(prompt=list(CAPTIONS), **options).images
    if family == "flux2_klein":  # its latents come out without their units
        images = (pipe._patchify_latents(images) - norm_of(pipe)[0]) / norm_of(pipe)[1]
    if packs(family):
        vae_scale = pipe.vae_scale_factor
        images = diffusers.FluxPipeline._unpack_latents(images, side, side, vae_scale)
    return images


def norm_of(pipe: Any) -> tuple[Tensor, Tensor]:
    """(mean, deviation) of FLUX.2's latents, as its training script takes them."""
    norm = pipe.vae.bn
    variance = norm.running_var.view(1, -1, 1, 1) + pipe.vae.config.batch_norm_eps
    return norm.running_mean.view(1, -1, 1, 1), torch.sqrt(variance)


@pytest.mark.first_look
@torch.no_grad()
@pytest.mark.parametrize("family", FLOW)
def test_a_sampling_run_ends_where_the_pipeline_does(
    family: str, made: Callable[[str], Made]
) -> None:
    target, pipe, _ = made(family)
    z = noise(2)
    sigmas = target.schedule.sampler(STEPS).tolist()  # type: ignore[union-attr]
    cond = target.embed(CAPTIONS)
    found = euler(target, z, sigmas, cond, cond, 1.0)
    expected = pipeline_latents(pipe, family, z)
    assert (expected - z).abs().mean() > 0.05  # the network moves
    assert torch.allclose(found, expected, atol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("family", FLOW)
def test_a_ddim_move_is_an_euler_step(family: str, made: Callable[[str], Made]) -> None:
    """Our eps and DDIM move from sigma to u against one step of diffusers' own scheduler."""
    target, _, _ = made(family)
    z, cond = noise(2), target.embed(CAPTIONS)
    scheduler = diffusers.FlowMatchEulerDiscreteScheduler()
    scheduler.set_timesteps(sigmas=[0.618, 0.302])
    s, u = (float(sigma) for sigma in scheduler.sigmas[:2])
    eps = target.predict_noise(z, torch.full((2,), s), cond)
    moved = target.move(z, eps, s, u)  # type: ignore[arg-type]
    v = target.predict_velocity(z, s, cond)
    stepped = scheduler.step(v, scheduler.timesteps[0], z).prev_sample
    assert torch.allclose(moved, stepped, atol=1e-5)
    assert torch.allclose(eps, z + (1 - s) * v, atol=1e-6)


@torch.no_grad()
@pytest.mark.parametrize("family", ["pixart_alpha", "pixart_sigma"])
def test_pixart_samples_as_its_pipeline_by_ddim(family: str, made: Callable[[str], Made]) -> None:
    target, pipe, _ = made(family)
    scheduler = diffusers.DDIMScheduler(
        beta_schedule="linear",
        beta_start=0.0001,
        beta_end=0.02,
        clip_sample=False,
        set_alpha_to_one=True,
        timestep_spacing="leading",
    )
    pipe.scheduler, before = scheduler, pipe.scheduler
    z, cond = noise(2), target.embed(CAPTIONS)
    expected = pipeline_latents(pipe, family, z)
    times = scheduler.timesteps.tolist()
    for t, s in zip(times, [*times[1:], -1], strict=True):
        z = target.denoise(z, t, s, cond)
    pipe.scheduler = before
    assert torch.allclose(z, expected, atol=1e-4)  # divided by a = .06 at the first step


@torch.no_grad()
@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_latents_are_the_autoencoders_in_the_units_of_training(
    family: str, made: Callable[[str], Made]
) -> None:
    target, pipe, model = made(family)
    side = SIDE.get(family, 16)
    image = torch.rand(2, 3, side, side, generator=torch.Generator().manual_seed(1)) * 2 - 1
    vae, config = pipe.vae, pipe.vae.config
    if family == "qwen_image":
        mode = vae.encode(image.unsqueeze(2)).latent_dist.mode()
        mean = torch.tensor(config.latents_mean).view(1, 4, 1, 1, 1)
        std = torch.tensor(config.latents_std).view(1, 4, 1, 1, 1)
        expected = ((mode - mean) / std)[:, :, 0]
        decoded = vae.decode(mode).sample[:, :, 0]
    elif family == "flux2_klein":
        mode = vae.encode(image).latent_dist.mode()
        mean, std = norm_of(pipe)
        expected, decoded = (pipe._patchify_latents(mode) - mean) / std, vae.decode(mode).sample
    elif family == "sana":
        mode = vae.encode(image).latent
        expected, decoded = mode * config.scaling_factor, vae.decode(mode).sample
    else:
        mode = vae.encode(image).latent_dist.mode()
        expected = (mode - (config.shift_factor or 0)) * config.scaling_factor
        decoded = vae.decode(mode).sample
    z0 = target.encode(image)
    assert z0.shape[1:] == SHAPE == target.latent_shape
    assert model.latent_side() == SHAPE[-1]
    assert torch.allclose(z0, expected, atol=1e-5)
    assert torch.allclose(target.decode(z0), decoded.clamp(-1, 1), atol=1e-5)


def diffusers_velocity(pipe: Any, family: str, z: Tensor, sigma: Tensor) -> Tensor:
    """What the training script of the family compares with eps - z0: the network, called as the
    script calls it, literally; sigma (B,)."""
    net, t, texts = pipe.transformer, 1000 * sigma, list(CAPTIONS)
    if family == "sd3":
        hidden, _, pooled, _ = pipe.encode_prompt(
            texts, texts, texts, do_classifier_free_guidance=False
        )
        return net(z, hidden, pooled, t, return_dict=False)[0]
    if family == "flux2_klein":
        hidden, text_ids = pipe.encode_prompt(texts)
        out = net(
            hidden_states=pipe._pack_latents(z),
            timestep=t / 1000,
            guidance=None,
            encoder_hidden_states=hidden,
            txt_ids=text_ids,
            img_ids=pipe._prepare_latent_ids(z),
            return_dict=False,
        )[0]
        return pipe._unpack_latents_with_ids(out, pipe._prepare_latent_ids(z))
    if family.startswith("flux"):
        hidden, pooled, text_ids = pipe.encode_prompt(texts, texts)
        out = net(
            hidden_states=pipe._pack_latents(z, 2, 4, 8, 8),
            timestep=t / 1000,
            guidance=torch.tensor([1.0]).expand(2) if family == "flux_dev" else None,
            pooled_projections=pooled,
            encoder_hidden_states=hidden,
            txt_ids=text_ids,
            img_ids=pipe._prepare_latent_image_ids(2, 4, 4, z.device, z.dtype),
            return_dict=False,
        )[0]
        return pipe._unpack_latents(out, 16, 16, 2)
    if family == "qwen_image":
        hidden, mask = pipe.encode_prompt(texts, max_sequence_length=512)
        packed = pipe._pack_latents(z.unsqueeze(2), 2, 4, 8, 8)
        out = net(
            hidden_states=packed,
            encoder_hidden_states=hidden,
            encoder_hidden_states_mask=mask,
            timestep=t / 1000,
            img_shapes=[[(1, 4, 4)]] * 2,
            return_dict=False,
        )[0]
        return pipe._unpack_latents(out, 32, 32, 4)[:, :, 0]
    if family == "z_image":
        rows, _ = pipe.encode_prompt(texts, do_classifier_free_guidance=False)
        out = net(list(z.unsqueeze(2).unbind(0)), (1000 - t) / 1000, rows, return_dict=False)[0]
        return -torch.stack(out).squeeze(2)
    if family == "sana":
        import inspect

        call = inspect.signature(type(pipe).__call__).parameters
        hidden, mask, _, _ = pipe.encode_prompt(
            texts,
            do_classifier_free_guidance=False,
            complex_human_instruction=call["complex_human_instruction"].default,
        )
        return net(z, hidden, timestep=t, encoder_attention_mask=mask, return_dict=False)[0]
    hidden, mask, _, _ = pipe.encode_prompt(texts, do_classifier_free_guidance=False)
    # the script of Lumina 2 counts data: z = (1 - s) eps + s z0, network told s, target z0 - eps
    return -net(z, (1000 - t) / 1000, hidden, mask, return_dict=False)[0]


@torch.no_grad()
@pytest.mark.parametrize("loss", ["native", "clean"])
@pytest.mark.parametrize("family", FLOW)
def test_the_training_loss_is_that_of_the_familys_script(
    family: str, loss: str, made: Callable[[str], Made]
) -> None:
    """A step of train_dreambooth_lora_<family>.py: levels from the scheduler's own table by index,
    z = (1 - s) z0 + s eps, and eps - z0 (or, with precondition_outputs, z0) as the target."""
    target, pipe, _ = made(family)
    shift = 3.0 if family == "sd3" else 1.0
    z0, eps, index = noise(2, 1), noise(2, 2), torch.tensor([700, 250])
    table = diffusers.FlowMatchEulerDiscreteScheduler(shift=shift)
    sigma = table.timesteps[index] / 1000
    if family == "lumina2":
        sigma = 1 - sigma
    s = sigma.view(2, 1, 1, 1)
    z = (1 - s) * z0 + s * eps
    v = diffusers_velocity(pipe, family, z, sigma)
    prediction, goal = (v, eps - z0) if loss == "native" else (v * (-s) + z, z0)
    expected = (prediction.float() - goal.float()).square().flatten(1).mean(1)

    module = training_module(target, loss=loss, timestep_shift=shift)
    t = module.schedule.training_time(index, shift)
    cond = target.embed(CAPTIONS)
    found = module.objective.losses(target.unet, z0, t, eps, (cond.hidden, cond.extra))
    assert torch.allclose(t, sigma, atol=1e-6)
    assert torch.allclose(found, expected, rtol=1e-5)


def training_module(target: Target, **recipe: Any) -> FinetuneModule:
    cond = target.embed(CAPTIONS)
    rows = EncodedRows(("a", "b"), noise(2, 1), cond)
    options = Recipe(steps=1, batch_size=2, lr=1e-3, seed=0, **recipe)
    return FinetuneModule(
        target, rows, rows, apply_mitigations({}, {}, options, 2, 2, 1, "32-true")
    )
