"""The model under attack, and every question an attack may ask it.

One concrete class serves every model family: `models/` only puts the parts together. What varies
between families (epsilon or v prediction, latent scaling, text encoders) ends here; attacks speak
of z_t, t, a condition and eps.
"""

from mia_bench.target.model import Target, grid_mse
from mia_bench.target.query import Batch, Condition, Latents, LatentStore, Query, Text, View

__all__ = [
    "Batch",
    "Condition",
    "LatentStore",
    "Latents",
    "Query",
    "Target",
    "Text",
    "View",
    "grid_mse",
]
