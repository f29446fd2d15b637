"""What a run will cost, from three training steps and one U-Net evaluation that are measured here.

The steps are those of FinetuneModule on the device of the run, with its precision and batch, on
noise in place of latents. Nothing of them is kept, and nothing that a fine-tune reads is changed.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mia_bench.execution.loading import SMALL_UNET_BYTES, device_of, load_model
from mia_bench.planning.describe import describe_plan
from mia_bench.planning.make_plan import make_plan
from mia_bench.training.batches import VALIDATION_LEVELS, EncodedRows
from mia_bench.training.views import AugmentedViews
from mia_bench.utils.errors import MiaError, Missing
from mia_bench.utils.memory import forget_peak, free, peak

if TYPE_CHECKING:
    from mia_bench.config.recipe import Recipe
    from mia_bench.config.schema import TrainerOptions
    from mia_bench.data.source import Item
    from mia_bench.mitigations import TrainingSetup
    from mia_bench.planning.experiment import Experiment
    from mia_bench.planning.plan import Plan
    from mia_bench.planning.specs import ModelSpec
    from mia_bench.target import Target


MEASURED_STEPS = 3


@dataclass(frozen=True)
class Pace:
    """Seconds of an optimiser step (None: nothing to train) and of a U-Net evaluation."""

    step: float | None
    evaluation: float
    memory: tuple[str, int]


def plan_lines(experiment: Experiment) -> Iterator[str]:
    """`plan_only=true`: what would run and what it would cost, or which data and weights lack."""
    try:
        plan = make_plan(experiment)
    except Missing as missing_data:
        yield f"missing: {missing_data}"
        try:
            experiment.model.base_hash()
        except Missing as missing_weights:
            yield f"missing: {missing_weights}"
        return
    yield from describe_plan(plan)
    if not plan.absent:
        yield from estimate_lines(plan)


def estimate_lines(plan: Plan) -> Iterator[str]:
    """Lines about hours and memory; none when all is done, small, or spread over processes."""
    model, trainer = plan.experiment.model, plan.experiment.options.trainer
    waiting = [spec for spec in plan.trained if not spec.ready]
    evaluations = sum(spec.evaluations for specs in plan.missing().values() for spec in specs)
    if plan.own_outputs is not None and not plan.own_outputs.ready:
        evaluations += plan.own_outputs.evaluations
    nothing_left = not (waiting or evaluations)
    if nothing_left or model.unet_bytes() < SMALL_UNET_BYTES or trainer.ranks > 1:
        return
    pace = measure(plan, waiting[0] if waiting else None)
    where, peak_bytes = pace.memory
    yield f"measured on {device_of(trainer)}: {pace.evaluation:.3g} s per U-Net evaluation"
    for spec in waiting:
        assert spec.setup is not None
        recipe = spec.setup.recipe
        seconds = training_seconds(pace, recipe)
        yield (
            f"{spec.kind:<7} {recipe.total:,} steps of {pace.step:.3g} s and their "
            f"validations: about {hours(seconds)}; peak memory {peak_bytes / 1e9:.1f} GB ({where})"
        )
    if evaluations:
        longest = hours(evaluations * pace.evaluation)
        yield f"extract at most {longest}, without reading and encoding images"


def training_seconds(pace: Pace, recipe: Recipe) -> float:
    """Optimiser steps, and validations of two sets of rows at each validation timestep."""
    assert pace.step is not None
    validations = recipe.total // recipe.val_every
    evaluations = validations * 2 * recipe.val_rows * VALIDATION_LEVELS
    return recipe.total * pace.step + evaluations * pace.evaluation


def hours(seconds: float) -> str:
    if seconds >= 3600:
        return f"{seconds / 3600:.1f} hours"
    return f"{seconds / 60:.1f} minutes" if seconds >= 60 else f"{seconds:.0f} seconds"


def measure(plan: Plan, spec: ModelSpec | None) -> Pace:
    """Load the base, time an evaluation and, where `spec` is given, its training, and drop it.

    Raises:
        MiaError: a training step does not fit into the memory of the device.
    """
    from torch import OutOfMemoryError

    experiment, trainer = plan.experiment, plan.experiment.options.trainer
    forget_peak()
    target = load_model(plan, plan.base, train=spec is not None)
    evaluation = time_evaluation(target.to(device_of(trainer)))
    step = None
    try:
        if spec is not None and spec.setup is not None and spec.member is not None:
            batch = plan.rows(spec.member)[: spec.setup.recipe.batch_size]
            items, resolution = plan.items_of(batch), experiment.model.resolution
            step = time_step(target.to("cpu"), spec.setup, items, resolution, trainer)
    except OutOfMemoryError as error:
        raise MiaError(
            f"a training step does not fit on {device_of(trainer)}: {str(error).splitlines()[0]} "
            "Raise finetune.accumulate, use finetune.gradient_checkpointing=true, "
            "finetune.lora_rank=16, finetune.ema_decay=null or trainer.precision=bf16-mixed."
        ) from error
    finally:
        memory = peak()
        del target
        free()
    return Pace(step, evaluation, memory)


def time_evaluation(target: Target) -> float:
    """Seconds per row: a full chunk on a GPU, one row on a CPU, the second of two calls."""
    import torch

    from mia_bench.utils.precision import exactly

    rows = target.chunk if target.device.type == "cuda" else 1
    z = torch.randn(rows, *target.latent_shape, generator=torch.Generator().manual_seed(0))
    z, cond = z.to(target.device), target.embed([""] * rows)
    for _ in range(2):
        began = time.perf_counter()
        with torch.no_grad(), exactly(target.device):
            target.predict_noise(z, 500, cond).sum().item()  # waits for the device
    return (time.perf_counter() - began) / rows


def time_step(
    target: Target,
    setup: TrainingSetup,
    items: Sequence[Item],
    resolution: int,
    trainer_options: TrainerOptions,
) -> float:
    """Seconds per optimiser step on a batch of `items`: the mean of all but the first of three."""
    from mia_bench.training.module import FinetuneModule
    from mia_bench.utils.lightning_tools import TrainingLoop, make_trainer

    recipe = replace(setup.recipe, steps=MEASURED_STEPS, epochs=None, save_at=[], val_rows=1)
    short = replace(setup, context=replace(setup.context, recipe=recipe))
    rows, views = noise_rows(target, [item.sample_id for item in items]), None
    if any(augment.bank is None for augment in setup.augments):
        views = AugmentedViews(items, resolution, setup.augments, recipe.seed)
    module = FinetuneModule(target, rows, rows, short, views=views, nonmembers=rows)
    clock = _clock()
    with tempfile.TemporaryDirectory() as folder:
        loop = TrainingLoop(
            MEASURED_STEPS,
            recipe.accumulate,
            recipe.max_grad_norm,
            trainer_options.precision,
            Path(folder),
        )
        one_process = replace(trainer_options, devices=1, num_nodes=1, strategy="auto")
        trainer = make_trainer(one_process, [clock], loop)
        trainer.fit(module)
    times: list[float] = clock.times
    return (times[-1] - times[0]) / (len(times) - 1)


def noise_rows(target: Target, ids: Sequence[str]) -> EncodedRows:
    """Rows in the shape of encoded pairs."""
    import torch

    generator = torch.Generator().manual_seed(0)
    z0 = torch.randn(len(ids), *target.latent_shape, generator=generator)
    return EncodedRows(tuple(ids), z0, target.embed(["a"] * len(ids)))


def _clock() -> Any:
    """A callback that notes when each optimiser step is done, on the device too."""
    import torch
    from lightning.pytorch import Callback

    class Clock(Callback):
        def __init__(self) -> None:
            self.times: list[float] = []

        def on_train_batch_end(self, trainer: Any, *_: Any) -> None:
            if trainer.global_step > len(self.times):
                if torch.cuda.is_available():
                    torch.cuda.synchronize()
                self.times.append(time.perf_counter())

    return Clock()
