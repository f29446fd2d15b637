"""A folder of pairs as bad as they come: what each is, and whether it can be used.

`bad_folder` writes it, and returns for every name a word of the reason it is skipped with, or None
where it must be read.
"""

from __future__ import annotations

import io
import json
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image, PngImagePlugin

SIZE = (24, 20)


def picture(seed: int, size: tuple[int, int] = SIZE, mode: str = "RGB") -> Image.Image:
    """Random blocks: no two are near-duplicates."""
    noise = np.random.default_rng(seed).integers(0, 256, (4, 4, 3), dtype=np.uint8)
    image = Image.fromarray(noise).resize(size, Image.Resampling.NEAREST)
    return image.convert(mode) if mode != "RGB" else image


def encode(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format=kind, **options)
    return buffer.getvalue()


def png_of(width: int, height: int) -> bytes:
    """A PNG whose header promises width x height and whose pixels are a few bytes of zeros."""

    def chunk(name: bytes, data: bytes) -> bytes:
        check = struct.pack(">I", zlib.crc32(name + data))
        return struct.pack(">I", len(data)) + name + data + check

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    pixels = zlib.compress(bytes(1000))
    parts = chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + parts


def text_bomb() -> bytes:
    """A small picture with a compressed comment of 200 MB."""
    comment = PngImagePlugin.PngInfo()
    plain = encode(picture(1), pnginfo=comment)
    bomb = b"Comment\0\0" + zlib.compress(bytes(200_000_000), 9)
    check = struct.pack(">I", zlib.crc32(b"zTXt" + bomb))
    return plain[:33] + struct.pack(">I", len(bomb)) + b"zTXt" + bomb + check + plain[33:]


def animation(kind: str) -> bytes:
    frames = [picture(seed) for seed in (2, 3, 4)]
    return encode(frames[0], kind, save_all=True, append_images=frames[1:], duration=50)


def exif(orientation: int) -> bytes:
    tags = Image.Exif()
    tags[0x0112] = orientation
    return tags.tobytes()


def corrupt_exif() -> bytes:
    return encode(picture(5), "JPEG", exif=b"Exif\0\0MM\0*\0\0\0\x08\xff\xff" + b"\xfe" * 40)


def sixteen_bit(kind: str) -> bytes:
    return encode(
        Image.fromarray(np.linspace(0, 65535, 480).reshape(20, 24).astype(np.uint16)), kind
    )


def floating() -> bytes:
    return encode(Image.fromarray(np.linspace(0, 1, 480, dtype=np.float32).reshape(20, 24)), "TIFF")


def lossy_tail(data: bytes) -> bytes:
    return data[: len(data) // 2]


IMAGES: dict[str, tuple[Callable[[], bytes], str | None]] = {
    "plain.png": (lambda: encode(picture(10)), None),
    "truncated.png": (lambda: lossy_tail(encode(picture(11))), "broken"),
    "truncated.jpg": (lambda: lossy_tail(encode(picture(12, (200, 200)), "JPEG")), "broken"),
    "truncated.gif": (lambda: lossy_tail(encode(picture(13), "GIF")), "broken"),
    "truncated.webp": (lambda: lossy_tail(encode(picture(14), "WEBP")), "broken"),
    "truncated.tiff": (lambda: encode(picture(15), "TIFF")[:-60], "broken"),
    "empty.png": (lambda: b"", "empty"),
    "zeros.png": (lambda: bytes(5000), "no known picture format"),
    "text.jpg": (lambda: b"this is not a picture", "no known picture format"),
    "page.png": (lambda: b"<html><script>alert(1)</script></html>", "no known picture format"),
    "header only.png": (lambda: encode(picture(16))[:20], "broken"),
    "postscript.png": (lambda: b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "no known"),
    "jpeg in png clothes.png": (lambda: encode(picture(17), "JPEG"), None),
    "png in jpg clothes.jpg": (lambda: encode(picture(18)), None),
    "bomb.png": (lambda: png_of(60_000, 60_000), "larger than"),
    "wide bomb.png": (lambda: png_of(10_000, 9_000), "larger than"),
    "text bomb.png": (text_bomb, "too large"),
    "pixel.png": (lambda: encode(Image.new("RGB", (1, 1), (200, 30, 60))), "1x1 px is no picture"),
    "strip.png": (lambda: encode(Image.new("RGB", (20_000, 1))), "too elongated"),
    "tall.png": (lambda: encode(Image.new("RGB", (3, 400))), "too elongated"),
    "no width.png": (lambda: png_of(0, 20), "no known"),
    "animated.gif": (lambda: animation("GIF"), None),
    "animated.webp": (lambda: animation("WEBP"), None),
    "animated.png": (lambda: animation("PNG"), None),
    "cmyk.jpg": (lambda: encode(picture(19, mode="CMYK"), "JPEG"), None),
    "grey.png": (lambda: encode(picture(20, mode="L")), None),
    "one bit.png": (lambda: encode(picture(21, mode="1")), None),
    "palette.png": (lambda: encode(picture(22).quantize(8)), None),
    "grey alpha.png": (lambda: encode(picture(23, mode="LA")), None),
    "alpha.png": (lambda: encode(picture(24, mode="RGBA")), None),
    "lab.tiff": (lambda: encode(Image.new("LAB", SIZE, (120, 140, 90)), "TIFF"), None),
    "sixteen bits.png": (lambda: sixteen_bit("PNG"), None),
    "sixteen bits.tiff": (lambda: sixteen_bit("TIFF"), None),
    "floating.tiff": (floating, "no known range"),
    "turned.jpg": (lambda: encode(picture(25), "JPEG", exif=exif(6)), None),
    "no such turn.jpg": (lambda: encode(picture(26), "JPEG", exif=exif(99)), None),
    "corrupt exif.jpg": (corrupt_exif, None),
    "bitmap.bmp": (lambda: encode(picture(27), "BMP"), None),
    "trailing junk.jpg": (lambda: encode(picture(28), "JPEG") + b"\0" * 999, None),
    "名前 with spaces é.png": (lambda: encode(picture(29)), None),
    "-rf.png": (lambda: encode(picture(30)), None),
    "<img src=x onerror=alert(1)>.png": (lambda: encode(picture(31)), None),
    "deep/er/nested.PNG": (lambda: encode(picture(32)), None),
}

# lines of metadata.jsonl as bytes after file_name, and the reason
CAPTIONS: dict[str, tuple[bytes, str | None]] = {
    "caption fine": (b'"a red fish beside a blue house"', None),
    "caption empty": (b'""', "empty"),
    "caption blank": (b'"  \\t\\n "', "empty"),
    "caption null": (b"null", "no caption"),
    "caption number": (b"7", None),
    "caption nan": (b"NaN", "no caption"),
    "caption true": (b"true", "not a text"),
    "caption object": (b'{"en": "a fish"}', "not a text"),
    "caption list": (b'["", "the second says something", "third"]', None),
    "caption empty list": (b"[]", "empty"),
    "caption list of lists": (b'[["a fish"]]', "not a text"),
    "caption 10,000 words": (b'"' + b"word " * 10_000 + b'"', "10,000 words"),
    "caption nul": (b'"a fish\\u0000with a nul"', None),
    "caption only controls": (b'"\\u0000\\u0001"', "empty"),
    "caption lone surrogate": (b'"a fish \\ud800 alone"', None),
    "caption not utf-8": (b'"\xff\xfe fish"', "not UTF-8"),
    "caption html": (b'"<script>alert(1)</script>"', None),
    "caption right to left": ('"سمكة حمراء \u202e"'.encode(), None),
    "caption emoji": ('"a 🐟"'.encode(), None),
}

# name of the skip: reason; not rows of a picture file
OTHERS = {
    "metadata.jsonl:1": "no JSON",
    "metadata.jsonl:2": "no JSON",
    "metadata.jsonl:3": "no file_name",
    "metadata.jsonl:4": "out of the folder",
    "metadata.jsonl:5": "out of the folder",
    "missing.png": "missing",
    "linked out.png": "out of the folder",
    "dangling.png": "missing",
    "a folder.png": "not a file",
    "uncaptioned.png": "no caption",
    "notes.md": "not a picture",
}


def bad_folder(root: Path, beside: Path) -> dict[str, str | None]:
    """Write the corpus to `root`; `beside` holds what lies outside. Reason by name, None: read."""
    root.mkdir(parents=True)
    beside.mkdir(parents=True)
    lines = [
        b'{"file_name": "plain.png", "text": ',
        b"[1, 2]",
        b'{"text": "no name"}',
        b'{"file_name": "../beside/secret.png", "text": "secret"}',
        b'{"file_name": "/etc/passwd", "text": "secret"}',
        b'{"file_name": "missing.png", "text": "a fish that is gone"}',
        b'{"file_name": "a folder.png", "text": "a folder"}',
    ]
    expected: dict[str, str | None] = dict(OTHERS)
    for i, (name, (build, reason)) in enumerate(IMAGES.items()):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(build())
        line = {"file_name": name, "text": f"picture number {i} of the corpus"}
        lines.append(json.dumps(line, ensure_ascii=False).encode())
        expected[name] = reason
    for i, (stem, (value, reason)) in enumerate(CAPTIONS.items()):
        (root / f"{stem}.png").write_bytes(encode(picture(1000 + i)))
        lines.append(b'{"file_name": "%b.png", "text": %b}' % (stem.encode(), value))
        at = f"metadata.jsonl:{len(lines)}" if reason == "not UTF-8" else f"{stem}.png"
        expected[at] = reason
    expected["caption not utf-8.png"] = "no caption"  # its line was not read
    (beside / "secret.png").write_bytes(encode(picture(500)))
    (root / "linked out.png").symlink_to(beside / "secret.png")
    (root / "dangling.png").symlink_to(root / "nowhere")
    for name in ("linked out", "dangling"):
        lines.append(json.dumps({"file_name": f"{name}.png", "text": f"{name} fish"}).encode())
    (root / "a folder.png").mkdir()
    (root / "uncaptioned.png").write_bytes(encode(picture(501)))
    (root / "notes.md").write_text("not a picture")
    (root / "metadata.jsonl").write_bytes(b"\n".join(lines))
    return expected
