"""What a picture's file says beside what is drawn: facts of its header, and traces of JPEG.

A model never sees a file, but the way pictures were stored stays in their pixels, and where members
and non-members were stored otherwise, that alone tells them apart (blind_file). From raw bytes:
format, size, mode, marks such as EXIF, text, dots per inch, names of camera and program, and of a
JPEG quantisation tables and chroma subsampling; of every format how near the coefficients of 8 x 8
blocks lie to multiples of a JPEG's step, which betrays a compression before the one that is in the
header.
"""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from io import BytesIO

import numpy as np
import numpy.typing as npt
from PIL import Image, JpegImagePlugin

from mia_bench.attacks import Floats
from mia_bench.data.pictures.image_file import FORMATS, OPTIONAL_FORMATS, check_size, formats
from mia_bench.data.source import Item

KNOWN_FORMATS = (*FORMATS, *OPTIONAL_FORMATS)
MODES = ("1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16")
MARKS = ("exif", "icc_profile", "xmp", "dpi", "jfif", "adobe", "photoshop", "comment")
OTHER_MARKS = ("progressive", "interlace", "transparency", "gamma", "srgb")
MAKERS = (0x010F, 0x0110, 0x0131)  # EXIF tags: make, model and software
MAX_DPI = 1e5  # above it a header is damaged
MAKER_CLASSES = 8  # indicators over which the names of cameras and programs are hashed
SAMPLINGS = (0, 1, 2)  # as Pillow numbers 4:4:4, 4:2:2 and 4:2:0
UNIT_QUALITY_SUMS = (3681, 5505)  # of libjpeg's luminance and chrominance table at quality 50
STEPS_AT_50: Mapping[tuple[int, int], int] = {
    (0, 1): 11,
    (1, 0): 12,
    (0, 2): 10,
    (1, 1): 12,
    (2, 0): 14,
    (0, 3): 16,
    (1, 2): 14,
    (2, 1): 13,
    (3, 0): 14,
}
"""Steps of libjpeg's luminance table at quality 50 (ITU T.81, table K.1) for the lowest modes."""
TRACED_QUALITIES = (30, 40, 50, 60, 65, 70, 75, 80, 85, 90, 95)
LEAST_STEP = 3  # pixels round to 1, so that smaller steps leave no trace
BLOCK = 8
TRACED_SIDE = 512  # pixels of the corner in which traces are looked for


@dataclass(frozen=True)
class JpegFacts:
    """`qualities`: libjpeg's, 1 to 100, of the luminance and the chrominance table, 0 where there
    is none. `sampling`: of SAMPLINGS, -1 for others."""

    qualities: tuple[int, int]
    sampling: int


def file_features(items: Sequence[Item]) -> Floats:
    """(N, F) features of the items' files; rows of pictures that have no file are 0 but for the
    last column, which says so."""
    return np.array([_features(None if item.raw is None else item.raw()) for item in items])


def _features(data: bytes | None) -> list[float]:
    if data is None:
        return [0.0] * len(NAMES[:-1]) + [1.0]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # odd tags of old files
            with Image.open(BytesIO(data), formats=formats()) as image:
                check_size(image)
                header = _header(image, len(data))
                return [*header, *compression_traces(_luminance(image)), 0.0]
    except Exception:  # whatever a decoder raises: the picture itself was read, by another path
        return [0.0] * len(NAMES[:-1]) + [1.0]


def _header(image: Image.Image, size: int) -> list[float]:
    width, height = image.size
    area, jpeg = width * height, jpeg_facts(image)
    progressive = ("progressive", "progression")  # both words of Pillow for one thing
    return [
        *(float(image.format == name) for name in KNOWN_FORMATS),
        *(float(image.mode == name) for name in MODES),
        *(float(name in image.info) for name in MARKS),
        float(any(name in image.info for name in progressive)),
        *(float(bool(image.info.get(name))) for name in OTHER_MARKS[1:]),
        *(np.log(width), np.log(height), np.log(size), 8 * size / area),
        *(float(side % BLOCK == 0) for side in image.size),
        *(quality / 100 for quality in jpeg.qualities),
        float(0 in jpeg.qualities),
        *(float(jpeg.sampling == sampling) for sampling in SAMPLINGS),
        *_notes(image),
    ]


def _notes(image: Image.Image) -> list[float]:
    """What a camera or a program wrote beside the picture: how much text, how many dots per inch,
    and which program or camera, hashed, for what tells is that two sets have others."""
    texts = {str(key): value for key, value in image.info.items() if isinstance(value, str)}
    written = sum(len(key) + len(value) for key, value in texts.items())
    dpi = image.info.get("dpi")
    horizontal = dpi[0] if isinstance(dpi, tuple) and dpi else 0.0
    maker = _maker(image, texts)
    return [
        np.log1p(written),
        np.log1p(min(MAX_DPI, max(0.0, float(horizontal)))),
        *(float(maker == number) for number in range(MAKER_CLASSES)),
    ]


def _maker(image: Image.Image, texts: Mapping[str, str]) -> int | None:
    """The class of the names of camera and program, None where there are none."""
    names: list[str] = []
    with suppress(Exception):  # a damaged EXIF block names nobody
        exif = image.getexif()
        names += [str(exif[tag]) for tag in MAKERS if tag in exif]
    names += [texts[key] for key in ("Software", "Source") if key in texts]
    if not names:
        return None
    digest = hashlib.blake2b("\n".join(names).encode(errors="replace"), digest_size=8).digest()
    return int.from_bytes(digest, "big") % MAKER_CLASSES


def jpeg_facts(image: Image.Image) -> JpegFacts:
    """Of an open picture; zeros and -1 where it is no JPEG."""
    tables = getattr(image, "quantization", None)
    if image.format not in ("JPEG", "MPO") or not tables:
        return JpegFacts((0, 0), -1)
    luminance, *others = (tables[i] for i in sorted(tables))
    of_luminance, of_chrominance = UNIT_QUALITY_SUMS
    chrominance = jpeg_quality(others[0], of_chrominance) if others else 0
    sampling = JpegImagePlugin.get_sampling(image) if image.format == "JPEG" else -1
    return JpegFacts((jpeg_quality(luminance, of_luminance), chrominance), sampling)


def jpeg_quality(table: Sequence[int], sum_at_50: int = UNIT_QUALITY_SUMS[0]) -> int:
    """libjpeg's quality whose table has the same sum as `table`, 1 to 100; below 25, where it cuts
    steps off at 255, somewhat too high."""
    scale = max(1e-9, 100 * sum(table) / sum_at_50)
    quality = (200 - scale) / 2 if scale <= 100 else 5000 / scale
    return int(np.clip(round(quality), 1, 100))


def _luminance(image: Image.Image) -> npt.NDArray[np.float64]:
    """(H, W) luminance in [0, 255] of a corner; of a JPEG as its decoder has it, before colours."""
    image.draft("L", image.size)
    corner = image.crop((0, 0, min(image.width, TRACED_SIDE), min(image.height, TRACED_SIDE)))
    return np.asarray(corner.convert("RGB").convert("L"), dtype=np.float64)


def compression_traces(luminance: npt.NDArray[np.float64]) -> list[float]:
    """For each of TRACED_QUALITIES: the mean of cos(2 pi c / q) over coefficients c of the low
    modes beyond q / 2, where q is the step of the mode at that quality.

    1 where all lie on multiples of the steps, as after a compression at that quality, near 0 where
    they lie anywhere. Blocks are those of a JPEG, from the upper left corner.
    """
    from scipy.fft import dctn

    rows, columns = (side // BLOCK for side in luminance.shape)
    if not rows or not columns:
        return [0.0] * len(TRACED_QUALITIES)
    whole = luminance[: rows * BLOCK, : columns * BLOCK] - 128
    blocks = whole.reshape(rows, BLOCK, columns, BLOCK).swapaxes(1, 2).reshape(-1, BLOCK, BLOCK)
    coefficients = dctn(blocks, axes=(1, 2), norm="ortho")
    return [_nearness(coefficients, quality) for quality in TRACED_QUALITIES]


def _nearness(coefficients: npt.NDArray[np.float64], quality: int) -> float:
    cosines = []
    for (row, column), at_50 in STEPS_AT_50.items():
        step = _step(at_50, quality)
        if step < LEAST_STEP:
            continue
        of_mode = coefficients[:, row, column]
        far = of_mode[np.abs(of_mode) > step / 2]
        cosines.append(np.cos(2 * np.pi * far / step))
    together = np.concatenate(cosines) if cosines else np.zeros(0)
    return float(together.mean()) if together.size else 0.0


def _step(at_50: int, quality: int) -> int:
    """The step of a mode at `quality`, as libjpeg scales its table."""
    scale = 5000 // quality if quality < 50 else 200 - 2 * quality
    return max(1, (at_50 * scale + 50) // 100)


NAMES: tuple[str, ...] = (
    *(f"format {name}" for name in KNOWN_FORMATS),
    *(f"mode {name}" for name in MODES),
    *(f"has {name}" for name in (*MARKS, *OTHER_MARKS)),
    *("log width", "log height", "log bytes", "bits per pixel"),
    *("width of whole blocks", "height of whole blocks"),
    *("luminance quality", "chrominance quality", "lacks a table"),
    *(f"sampling {sampling}" for sampling in SAMPLINGS),
    *("log characters of text", "log dots per inch"),
    *(f"maker {number} of {MAKER_CLASSES}" for number in range(MAKER_CLASSES)),
    *(f"traces of quality {quality}" for quality in TRACED_QUALITIES),
    "no file",
)
"""What the columns are."""
