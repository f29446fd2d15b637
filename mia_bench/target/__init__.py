"""The model under attack, and every query an attack may make of it.

One concrete class serves every model family: `models/` only puts the parts together. What varies
between families (epsilon or v prediction, latent scaling, text encoders) ends here; attacks speak
of z_t, t, a condition and eps.

model.py            class Target, the face that attacks see
query_engine.py     memo, chunks and counting behind its queries (batch_memo.py)
noise_predictor.py  one network call as eps (schedule.py, flow_schedule.py, precision.py,
                    chunk_tuning.py)
generation.py       images from captions
query.py            batches, views, conditions, queries; the seams to a family's parts
diffusion.py        the mathematics, free of models
"""

from mia_bench.target.flow_schedule import FlowSchedule
from mia_bench.target.model import Target, grid_mse, grid_residuals
from mia_bench.target.query import Batch, Condition, Latents, LatentStore, Query, Text, View

__all__ = [
    "Batch",
    "Condition",
    "FlowSchedule",
    "LatentStore",
    "Latents",
    "Query",
    "Target",
    "Text",
    "View",
    "grid_mse",
    "grid_residuals",
]
