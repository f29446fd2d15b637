"""Keys of a model of the Stable Diffusion family: of its networks, and of its image encoder.

What is as it always was stays out of a key, so that models keep the keys they had before it could
be otherwise.
"""

from __future__ import annotations

from typing import Any

from mia_bench.models.identity import network
from mia_bench.models.readers.chosen_loras import Scales, lora_key
from mia_bench.models.readers.guidance import PIPELINE_GUIDANCE
from mia_bench.models.readers.unet_pipeline import DEFAULT_LATENT_SCALE, UnetPipeline
from mia_bench.models.schedule import schedule_key
from mia_bench.models.weight_files import contents
from mia_bench.storage.hashing import hash_key


def networks_key(
    pipeline: UnetPipeline, loras: Scales, words: list[list[str]] | None, guidance: float | None
) -> str:
    """Content of the networks, the adapters on them, and whatever in the configurations, the
    tokenizers and the schedule is not as a key without it says.

    Args:
        words: learned words with the hashes of their files; None where none are named.
        guidance: that a latent consistency model is told; None: its pipeline's.
    """
    weights = contents(file for part in pipeline.networks for file in pipeline.parts.weights(part))
    schedule, unusual = schedule_key(pipeline.schedule()), pipeline.unusual()
    if words is not None:
        unusual["embeddings"] = words
    if guidance not in (None, PIPELINE_GUIDANCE):
        unusual["guidance"] = guidance
    if not loras and not schedule and not unusual:
        return weights
    return hash_key([weights, schedule, lora_key(loras), *([unusual] if unusual else [])])


def encoder_key(pipeline: UnetPipeline, side: int, dtype: str, tiling: bool) -> str:
    """Content of the autoencoder, and how images of `side` pixels go through it.

    Args:
        tiling: large images go through tile by tile.
    """
    weights = contents(pipeline.parts.weights("vae"))
    identity: dict[str, Any] = {"vae": weights, "resolution": side, "dtype": dtype}
    if (scale := pipeline.latent_scale()) != DEFAULT_LATENT_SCALE:
        identity["scale"] = scale
    if (config := network(pipeline.parts.place("vae"), "vae")) is not None:
        identity["config"] = config
    if tiling:
        identity["tiling"] = True
        if (tile := pipeline.unusual_tile()) is not None:
            identity["tile"] = tile
    return hash_key(identity)
