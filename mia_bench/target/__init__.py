"""The model under attack, and every query an attack may make of it.

One concrete class serves every model family: `models/` only puts the parts together. What varies
between families (epsilon or v prediction, latent scaling, text encoders) ends here; attacks speak
of z_t, t, a condition and eps.

model.py            class Target, the face that attacks see (query.py: batches, views, conditions,
                    queries, and the seams to a family's parts)
encoding.py         images and captions of a batch (tensor_cache.py, decoder_influence.py)
engine/             the network's predictions: one call as eps, each query once, chunks, counting
generation.py       images from captions
grid_errors.py      what most attacks make of a grid of predictions
schedule.py         signal and noise levels (flow_schedule.py; diffusion.py has the mathematics)
precision.py        what the network computes in; chunk_tuning.py: how many rows at once
"""

from mia_bench.target.flow_schedule import FlowSchedule
from mia_bench.target.grid_errors import grid_mse, grid_residuals
from mia_bench.target.model import Target
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
