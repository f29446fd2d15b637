"""Faces in images, for DRC's holes: the detector that scikit-image ships with its weights.

A cascade of local binary patterns for frontal faces (Viola & Jones 2001; Ojala et al. 2002), with
OpenCV's weights. It finds upright faces at least 24 pixels wide; elsewhere DRC falls back to the
centre, and records that. Needs the extra `faces`.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from torch import Tensor

from mia_bench.utils.errors import MiaError

MIN_FACE_PIXELS = 24  # pixels per side, the width of the cascade's own window
SCALE_STEP_RATIO = 1.1  # between the sizes that are looked at

try:
    from skimage.data import lbp_frontal_face_cascade_filename
    from skimage.feature import Cascade
except ImportError as error:
    raise MiaError(
        "looking for faces needs scikit-image: pip install 'mia_bench[faces]', or put the holes at "
        "the centre: place=centre."
    ) from error


def frontal(image: Tensor) -> tuple[float, float, float, float] | None:
    """(left, top, width, height) in pixels of the largest face in (3, H, W) in [-1, 1], or None."""
    pixels = ((image.detach().float().cpu().clamp(-1, 1) + 1) * 127.5).round().byte()
    height, width = pixels.shape[-2:]
    if min(height, width) < MIN_FACE_PIXELS:
        return None
    boxes = _cascade().detect_multi_scale(
        img=np.ascontiguousarray(pixels.permute(1, 2, 0).numpy()),
        scale_factor=SCALE_STEP_RATIO,
        step_ratio=1,
        min_size=(MIN_FACE_PIXELS, MIN_FACE_PIXELS),
        max_size=(height, width),
    )
    if not boxes:
        return None
    # equal sizes are told apart by place, so that the choice does not depend on their order
    largest = max(boxes, key=lambda box: (box["width"] * box["height"], -box["r"], -box["c"]))
    return largest["c"], largest["r"], largest["width"], largest["height"]


@cache
def _cascade() -> Any:
    return Cascade(lbp_frontal_face_cascade_filename())
