"""A fine-tuning step against the bare one, and against the structure of diffusers' script."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from torch import Tensor
from torch.nn import functional as F

from mia_bench.bench.timing import Ratio, ratio
from mia_bench.bench.workloads import Workload
from mia_bench.config.recipe import Recipe
from mia_bench.config.schema import TrainerOptions
from mia_bench.mitigations import apply_mitigations
from mia_bench.training.batches import EncodedRows
from mia_bench.training.finetune import finetune

BATCH_ROWS = 32
LEARNING_RATE = 1e-6  # every variant does the same work whatever it learns


def over_bare_steps(workload: Workload, steps: int, rounds: int) -> Ratio:
    """Time of a Lightning fine-tune over as many bare forward, backward and optimiser steps."""
    return ratio(finetune_steps(workload, steps), bare_steps(workload, steps), rounds)


def script_over_finetune(workload: Workload, steps: int, rounds: int) -> Ratio:
    """Time of a script that encodes images and captions in every step, over finetune()'s."""
    return ratio(script_steps(workload, steps), finetune_steps(workload, steps), rounds)


def finetune_steps(workload: Workload, steps: int) -> Callable[[], None]:
    """`steps` of finetune(), from its trainer's start to its saved weights."""
    target, batch = workload.target, workload.batch
    rows = EncodedRows(batch.sample_id, target.view(batch).z0.cpu(), target.embed(batch.caption))
    recipe = Recipe(
        steps=steps, batch_size=BATCH_ROWS, lr=LEARNING_RATE, val_every=steps, val_rows=1, seed=0
    )
    recipe.checkpoint_every = steps
    setup = apply_mitigations(
        {}, {}, recipe, len(rows.sample_id), len(rows.sample_id), 1, "32-true"
    )

    def run() -> None:
        with TemporaryDirectory() as folder:
            options = TrainerOptions(accelerator="cpu")
            finetune(target, rows, rows, setup, options, Path(folder), "bench")
        target.unet.eval()

    return run


def bare_steps(workload: Workload, steps: int) -> Callable[[], None]:
    """The same arithmetic on tensors that are there: nothing is loaded, logged or saved."""
    target, rows = workload.target, workload.batch.sample_id[:BATCH_ROWS]
    z0 = target.view(workload.batch).z0[: len(rows)]
    hidden = target.embed(workload.batch.caption).hidden[: len(rows)]
    eps = target.noise(rows, 450)
    t = torch.full((len(rows),), 450)
    z_t = target.add_noise(z0, eps, 450)

    def run() -> None:
        unet, optimizer = _trainee(target.unet)
        for _ in range(steps):
            raw = unet(z_t, t, encoder_hidden_states=hidden, return_dict=False)[0]
            _step(unet, optimizer, F.mse_loss(raw, eps))

    return run


def script_steps(workload: Workload, steps: int) -> Callable[[], None]:
    """The structure of diffusers' train_text_to_image, which encodes in every step."""
    target, batch = workload.target, workload.batch
    image, captions = batch.image[:BATCH_ROWS], batch.caption[:BATCH_ROWS]

    def run() -> None:
        unet, optimizer = _trainee(target.unet)
        for _ in range(steps):
            z0 = target.latents.encode(image)
            hidden, _ = target.text.embed(captions)
            eps, t = torch.randn_like(z0), torch.randint(target.timesteps, (len(z0),))
            z_t = target.add_noise(z0, eps, t)
            raw = unet(z_t, t, encoder_hidden_states=hidden, return_dict=False)[0]
            _step(unet, optimizer, F.mse_loss(raw, eps)).item()

    return run


def _trainee(unet: torch.nn.Module) -> tuple[torch.nn.Module, torch.optim.Optimizer]:
    trained = copy.deepcopy(unet).train().requires_grad_(True)
    return trained, torch.optim.AdamW(trained.parameters(), lr=LEARNING_RATE, weight_decay=1e-2)


def _step(unet: torch.nn.Module, optimizer: torch.optim.Optimizer, loss: Tensor) -> Tensor:
    loss.backward()
    torch.nn.utils.clip_grad_norm_(unet.parameters(), 1.0)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    return loss.detach()
