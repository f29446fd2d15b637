"""Early stopping: training ends where the held-out loss no longer falls."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import EarlyStopping

from mia_bench.config.recipe import Recipe
from mia_bench.mitigations import TrainingContext
from mia_bench.utils.errors import MiaError

if TYPE_CHECKING:
    from lightning.pytorch import Callback


MONITOR = "val_heldout"


@dataclass(frozen=True)
class EarlyStop:
    """Stop after `patience` validations without an improvement of more than `min_delta`.

    Validation takes place every `every` steps on the first `rows` rows of the validation role.
    """

    patience: int = 3
    min_delta: float = 0.0
    every: int = 20
    rows: int = 128

    def __post_init__(self) -> None:
        if min(self.patience, self.every, self.rows) < 1 or self.min_delta < 0:
            raise ValueError("patience, every and rows must be positive, min_delta 0 or more")

    def recipe(self, recipe: Recipe) -> Recipe:
        return replace(recipe, val_every=self.every, val_rows=self.rows)

    def check(self, context: TrainingContext) -> None:
        if context.heldout == 0:
            raise MiaError(
                "mitigation=early_stop needs held-out rows, and the validation role is empty: "
                "leave rows for it, e.g. data.sizes.validation=100."
            )
        if self.every > context.recipe.total:
            raise MiaError(
                f"mitigation.early_stop.every={self.every} is never reached in "
                f"{context.recipe.total} steps: give it {context.recipe.total} or less."
            )

    def callbacks(self) -> list[Callback]:

        stopping = Patience(
            MONITOR,
            min_delta=self.min_delta,
            patience=self.patience,
            check_on_train_epoch_end=False,
        )
        return [stopping]


def chosen_step(
    steps: Sequence[int], losses: Sequence[float], patience: int, min_delta: float = 0.0
) -> tuple[int, int]:
    """(step whose weights are best, step at which training ends) on a recorded validation curve.

    The end is the last recorded step when patience never runs out.
    """
    lowest = reference = float("inf")
    best, waited = steps[0], 0
    for step, loss in zip(steps, losses, strict=True):
        if loss < lowest:
            lowest, best = loss, step
        if loss < reference - min_delta:
            reference, waited = loss, 0
        else:
            waited += 1
        if waited >= patience:
            return best, step
    return best, steps[-1]


class Patience(EarlyStopping):
    """Ends a run at once that was killed between its last step and its end."""

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self.wait_count >= self.patience:
            trainer.should_stop = True
