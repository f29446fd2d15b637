"""Fine-tuning: one LightningModule, its batches, checkpoints and optimiser."""
