"""Lightning's early stopping, which forgets on resuming that its patience had run out."""

from __future__ import annotations

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import EarlyStopping


class Patience(EarlyStopping):
    """Ends a run at once that was killed between its last step and its end."""

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self.wait_count >= self.patience:
            trainer.should_stop = True
