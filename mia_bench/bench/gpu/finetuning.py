"""Seconds of a training step: this project's fine-tune, and a plain loop as diffusers' scripts.

The plain loop encodes its images in every step, as those scripts do; the fine-tune here has encoded
them before. Both train what the model's yaml trains (every weight, or adapters), in bfloat16 where
there is a GPU, with the same optimiser, clipping and recomputed activations.
"""

from __future__ import annotations

import statistics
import time
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from lightning.pytorch import Callback
from torch.nn import functional as F

from mia_bench.bench.gpu import networks
from mia_bench.bench.gpu.networks import NetworkSpec
from mia_bench.bench.gpu.speed import SpeedSetting, settled
from mia_bench.config.recipe import Recipe
from mia_bench.config.schema import TrainerOptions
from mia_bench.mitigations import apply_mitigations
from mia_bench.models.lora.training import add_lora
from mia_bench.training.batches import EncodedRows
from mia_bench.training.module import FinetuneModule
from mia_bench.utils import memory
from mia_bench.utils.lightning_tools import TrainingLoop, make_trainer

LEARNING_RATE = 1e-6
STEPS = {"real": 12, "small": 4}
UNMEASURED_STEPS = {"real": 3, "small": 1}  # the first find kernels and allocate moments


class StepClock(Callback):
    """Keeps the moment at which each training step has ended on the device."""

    def __init__(self, device: torch.device) -> None:
        self.wait = settled(lambda: None, device)
        self.moments: list[float] = []

    def on_train_batch_end(self, *_: Any) -> None:
        self.tick()

    def tick(self) -> None:
        self.wait()
        self.moments.append(time.perf_counter())

    def seconds(self, unmeasured: int) -> float:
        """Median seconds of a step after the first `unmeasured`."""
        kept = self.moments[unmeasured - 1 :]
        return statistics.median(b - a for a, b in pairwise(kept))


def finetuning(spec: NetworkSpec, setting: SpeedSetting) -> dict[str, float]:
    """Seconds of a step of both, plain over ours, and the peak memory of both."""
    figures = {}
    for name, measure in (("ours", our_seconds), ("plain", plain_seconds)):
        memory.free()
        memory.forget_peak()
        figures[f"{name}.seconds"] = measure(spec, setting)
        figures[f"{name}.peak_gigabytes"] = memory.peak()[1] / 1e9
    figures["plain_over_ours"] = figures["plain.seconds"] / figures["ours.seconds"]
    return figures | {"batch": spec.batch_rows, "rank": spec.recipe.get("lora_rank") or 0}


def our_seconds(spec: NetworkSpec, setting: SpeedSetting) -> float:
    """Of a step of the module that `finetune` trains, latents and captions encoded before."""
    steps, clock = STEPS[setting.size], StepClock(setting.device)
    workload = networks.workload(spec, 2 * spec.batch_rows, setting.device)
    target, batch = workload.target, workload.batch
    with torch.no_grad():
        z0, cond = target.view(batch).z0.cpu(), target.embed(batch.caption).to("cpu")
    rows = EncodedRows(batch.sample_id, z0, cond)
    recipe = Recipe(
        steps=steps, batch_size=spec.batch_rows, lr=LEARNING_RATE, val_rows=1, seed=0, **spec.recipe
    )
    cuda = setting.device.type == "cuda"
    precision = "bf16-mixed" if cuda else "32-true"
    setup = apply_mitigations({}, {}, recipe, len(batch), 0, 1, precision)
    options = TrainerOptions(accelerator="gpu" if cuda else "cpu", precision=precision)
    with TemporaryDirectory() as folder:
        loop = TrainingLoop(steps, 1, 1.0, precision, Path(folder))
        trainer = make_trainer(options, [clock], loop)
        trainer.fit(FinetuneModule(target, rows, None, setup))
    return clock.seconds(UNMEASURED_STEPS[setting.size])


def plain_seconds(spec: NetworkSpec, setting: SpeedSetting) -> float:
    """Of a step that encodes images and takes a gradient, nothing around it."""
    device, clock = setting.device, StepClock(setting.device)
    half = torch.bfloat16 if device.type == "cuda" else torch.float32
    target = networks.target(spec, device)
    unet: Any = target.unet.train()
    if spec.recipe.get("lora_rank"):
        add_lora(unet, spec.recipe["lora_rank"])
    if spec.recipe.get("gradient_checkpointing"):
        unet.enable_gradient_checkpointing()
    trained = [p for p in unet.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=LEARNING_RATE, weight_decay=1e-2)
    codec = networks.autoencoder(spec).requires_grad_(False).to(device, half)
    batch = networks.pictures(spec, spec.batch_rows)
    image, cond = batch.image.to(device, half), target.embed(batch.caption)
    for _ in range(STEPS[setting.size]):
        with torch.no_grad():
            z = codec.encode(image).latent_dist.sample().float()
        z0 = (z - (spec.shift or 0.0)) * spec.scale
        eps, t = torch.randn_like(z0), torch.randint(target.timesteps, (len(z0),), device=device)
        z_t, at = target.add_noise(z0, eps, t), target.schedule.network_time(t)
        with torch.autocast(device.type, half, enabled=half is not torch.float32):
            raw = target.predictor.call(unet, z_t, at, cond.hidden, cond.extra)
        F.mse_loss(raw.float(), eps - z0 if spec.flow else eps).backward()
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        clock.tick()
    return clock.seconds(UNMEASURED_STEPS[setting.size])
