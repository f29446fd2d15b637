"""One way to open a picture, whatever its file holds: upright, first frame, RGB, on white.

Bytes come from other people. The decoders are a short list (none that starts another program), the
size is read from the header before a pixel is decoded, and whatever a decoder raises becomes one
ValueError with a reason.
"""

from __future__ import annotations

import warnings
from contextlib import suppress
from functools import cache
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image, ImageFile, UnidentifiedImageError

from mia_bench.data.pictures.preprocessing import require_usable_size, to_rgb

MAX_PIXELS = 50_000_000  # 150 MB as RGB; a header that promises more is not believed
FORMATS = ("AVIF", "BMP", "GIF", "JPEG", "JPEG2000", "MPO", "PNG", "PPM", "TIFF", "WEBP")
EXTENSIONS = frozenset(
    (".avif", ".bmp", ".gif", ".jp2", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff")
) | {".webp"}
OPTIONAL_FORMATS = ("HEIF", "JXL")  # opened by the packages of the extra `formats`
OPTIONAL_EXTENSIONS = frozenset((".heic", ".heif", ".jxl"))
HEIF_BRANDS = (b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"mif1", b"msf1")
JXL_STARTS = (b"\xff\x0a", b"\x00\x00\x00\x0cJXL ")
ORIENTATION = 0x0112  # EXIF tag
UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def read_picture(path: Path, _: int = 0) -> Image.Image:
    """The picture in the file at `path`, in its own size; see `decode`."""
    return decode(path.read_bytes())


def decode(data: bytes) -> Image.Image:
    """RGB picture in its own size: upright as EXIF says, first frame, transparency on white.

    16-bit grey keeps its range; CMYK, palette and grey are converted.

    Raises:
        ValueError: empty, of no format in FORMATS or OPTIONAL_FORMATS, more than MAX_PIXELS, less
            than MIN_SIDE or longer than MAX_ASPECT times its width, truncated or otherwise broken.
    """
    if not data:
        raise ValueError("the file is empty")
    try:
        with warnings.catch_warnings():
            # harmless oddities of old files (EXIF, palettes) and the size we check ourselves
            warnings.simplefilter("ignore")
            # a library may have let Pillow make up what a truncated file lacks (WeasyPrint does)
            ImageFile.LOAD_TRUNCATED_IMAGES = False
            with Image.open(BytesIO(data), formats=formats()) as image:
                check_size(image)
                image.seek(0)
                return _upright(to_rgb(_eight_bit(image)), _orientation(image))
    except Image.DecompressionBombError as error:
        raise ValueError(f"larger than {MAX_PIXELS:,} pixels") from error
    except ValueError:
        raise
    except Exception as error:  # decoders raise OSError, SyntaxError, struct.error, zlib.error…
        unknown = isinstance(error, UnidentifiedImageError)  # its text names the buffer
        why = _unknown_format(data) if unknown else f"broken: {error}"
        raise ValueError(f"the file is {why}") from error


def _unknown_format(data: bytes) -> str:
    """What is to be said of a file that no decoder takes."""
    heif = data[4:8] == b"ftyp" and data[8:12] in HEIF_BRANDS
    if heif or data.startswith(JXL_STARTS):
        kind = "HEIF" if heif else "JPEG XL"
        return f"a {kind} picture, which pip install 'mia_bench[formats]' lets be read"
    return "of no known picture format"


@cache
def formats() -> tuple[str, ...]:
    """Pillow's names of the formats that are opened, those of installed extras included."""
    Image.init()  # which AVIF is not a part of everywhere
    _add_plugins()
    return tuple(name for name in (*FORMATS, *OPTIONAL_FORMATS) if name in Image.OPEN)


def _add_plugins() -> None:
    """Let Pillow open the formats of the extra `formats`, where their packages are installed."""
    with suppress(ImportError):
        import pillow_heif

        pillow_heif.register_heif_opener()
    with suppress(ImportError):
        import pillow_jxl  # noqa: F401  registers itself


def check_size(image: Image.Image) -> None:
    """Raises ValueError for what the header promises and nothing here can use."""
    if image.width * image.height > MAX_PIXELS:
        raise ValueError(f"{image.width}x{image.height} is larger than {MAX_PIXELS:,} pixels")
    require_usable_size(image.size)


def _eight_bit(image: Image.Image) -> Image.Image:
    """Grey of 16 bits scaled to 8: Pillow's own conversion clips everything above 255 to white."""
    if image.mode == "F":
        raise ValueError("floating-point pixels have no known range")
    if not image.mode.startswith("I"):
        return image
    values = np.asarray(image).astype(np.int64)
    if values.min() < 0 or values.max() > 0xFFFF:
        raise ValueError("32-bit pixels have no known range")
    return Image.fromarray((values >> 8).astype(np.uint8))


def _orientation(image: Image.Image) -> int:
    try:
        return int(image.getexif().get(ORIENTATION, 1))
    except Exception:  # a damaged EXIF block says nothing about the pixels
        return 1


def _upright(image: Image.Image, orientation: int) -> Image.Image:
    turn = UPRIGHT.get(orientation)
    return image if turn is None else image.transpose(turn)
