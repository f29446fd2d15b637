"""The fine-tune of a target or a shadow, from encoded rows to weights and history on disk."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from lightning.pytorch import Trainer

from mia_bench.config.schema import TrainerOptions
from mia_bench.mitigations import TrainingSetup
from mia_bench.storage import layout
from mia_bench.target import Target
from mia_bench.training.batches import EncodedRows
from mia_bench.training.checkpoints import CheckpointWriter, InPlace, is_intact
from mia_bench.training.module import FinetuneModule
from mia_bench.training.update_filter import UpdateFilter
from mia_bench.training.views import AugmentedViews
from mia_bench.utils.lightning_tools import (
    SigtermHandler,
    StepProgress,
    TrainingLoop,
    make_trainer,
)


def finetune(
    target: Target,
    members: EncodedRows,
    heldout: EncodedRows | None,
    setup: TrainingSetup,
    options: TrainerOptions,
    folder: Path,
    label: str = "fine-tune",
    training_rows: EncodedRows | None = None,
    views: AugmentedViews | None = None,
    nonmembers: EncodedRows | None = None,
) -> dict[str, Any]:
    """Train `target.unet` on `members` into `folder`; continues from last.ckpt when there is one,
    which stays there until the folder is sealed.

    Args:
        heldout: rows of the validation role, or None where there are none.
        training_rows, views: trained on in place of `members` (views.training_rows makes them).
        nonmembers: rows that a proxy attacker learns non-members from, where one is trained.

    Returns: what the manifest should say.
    Raises: MiaError when a loss or the gradient stops being finite.
    """
    module = FinetuneModule(target, members, heldout, setup, training_rows, views, nonmembers)
    filters = setup.update_filters
    network = getattr(module.unet, "_module", module.unet)  # of Opacus' wrapper
    update_filter = UpdateFilter.of(network, filters) if filters else None
    stopping = [callback for stop in setup.stops for callback in stop.callbacks()]
    writer = CheckpointWriter(folder, setup.recipe, bool(stopping), update_filter)
    callbacks = [*stopping, writer, StepProgress(label), SigtermHandler()]
    recipe = setup.recipe
    loop = TrainingLoop(
        recipe.total,
        recipe.accumulate,
        recipe.max_grad_norm,
        options.precision,
        folder,
        validate_every=recipe.val_every,
    )
    trainer = make_trainer(options, callbacks, loop, InPlace())
    last = folder / layout.LAST_CHECKPOINT_FILE
    resumed, began = is_intact(last), time.monotonic()
    trainer.fit(module, ckpt_path=last if resumed else None, weights_only=True)
    seconds = None if resumed else time.monotonic() - began
    facts = _facts(module, trainer, len(members.sample_id), seconds)
    if update_filter is not None:
        facts["update_kept"] = update_filter.kept_share
    return facts | ({"chosen_step": writer.best_step} if stopping else {})


def _facts(
    module: FinetuneModule, trainer: Trainer, members: int, seconds: float | None
) -> dict[str, Any]:
    steps, setup = trainer.global_step, module.training_setup
    batch_size = setup.recipe.batch_size
    facts: dict[str, Any] = {
        "steps": steps,
        "batch_size": batch_size,
        "seconds_per_step": round(seconds / steps, 5) if seconds and steps else None,
        "epochs": round(steps * batch_size / members, 2),
        "device": str(trainer.strategy.root_device),
        "history": module.history,
    }
    if setup.private is not None:
        facts["privacy"] = setup.private.spent(setup.context, steps)
    if setup.drops_rows:
        facts["dropped_rows"] = module.records.dropped_rows()
    return facts
