"""Every family by the pipeline class that a model_index.json names."""

from __future__ import annotations

from mia_bench.models.dit.families import (
    flux,
    flux2,
    lumina2,
    pixart,
    qwen_image,
    sana,
    sd3,
    z_image,
)

FAMILIES = {
    family.pipeline: family
    for family in (
        sd3.FAMILY,
        flux.FAMILY,
        flux2.KLEIN,
        qwen_image.FAMILY,
        z_image.FAMILY,
        sana.FAMILY,
        lumina2.FAMILY,
        pixart.ALPHA,
        pixart.SIGMA,
    )
}
