"""blind_file: what files say beside their pixels, and that nothing is found where there is none."""

from __future__ import annotations

from io import BytesIO

import numpy as np
import pytest
from PIL import Image, PngImagePlugin
from scipy.fft import dct

from mia_bench.data.source import Item
from mia_bench.evaluation.controls.blind_baselines import blind_file_row
from mia_bench.evaluation.controls.file_features import (
    NAMES,
    STEPS_AT_50,
    TRACED_QUALITIES,
    compression_traces,
    file_features,
    jpeg_facts,
    jpeg_quality,
)
from mia_bench.metrics import permutation

N, SIDE = 80, 64


def scene(seed: int) -> Image.Image:
    """Smooth colours with some noise, as a photograph has."""
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 255, (6, 6, 3)).astype(np.uint8))
    smooth = np.asarray(coarse.resize((SIDE, SIDE), Image.Resampling.BICUBIC), dtype=float)
    return Image.fromarray((smooth + rng.normal(0, 6, smooth.shape)).clip(0, 255).astype(np.uint8))


def saved(picture: Image.Image, kind: str = "JPEG", **options: object) -> bytes:
    written = BytesIO()
    picture.save(written, kind, **options)
    return written.getvalue()


def again(picture: Image.Image, first: int, last: int) -> bytes:
    return saved(Image.open(BytesIO(saved(picture, quality=first))), quality=last)


def with_exif(picture: Image.Image) -> bytes:
    exif = Image.Exif()
    exif[0x010F] = "a camera"
    return saved(picture, quality=90, exif=exif)


def of_file(data: bytes) -> Item:
    return Item("made:0", "", "a", lambda _: Image.open(BytesIO(data)), raw=lambda: data)


def named(data: bytes) -> dict[str, float]:
    return dict(zip(NAMES, file_features([of_file(data)])[0], strict=True))


CHANGES = {
    "png against jpeg 92": (lambda p: saved(p, "PNG"), lambda p: saved(p, quality=92)),
    "4:4:4 against 4:2:0": (
        lambda p: saved(p, quality=90, subsampling=0),
        lambda p: saved(p, quality=90, subsampling=2),
    ),
    "jpeg 60 then 90 against 90": (lambda p: again(p, 60, 90), lambda p: saved(p, quality=90)),
    "png of a jpeg against png": (
        lambda p: saved(Image.open(BytesIO(saved(p, quality=75))), "PNG"),
        lambda p: saved(p, "PNG"),
    ),
    "tables": (lambda p: saved(p, quality=90), lambda p: saved(p, quality=80)),
    "exif": (with_exif, lambda p: saved(p, quality=90)),
    "size": (lambda p: saved(p, "PNG"), lambda p: saved(p.resize((56, 56)), "PNG")),
}


@pytest.mark.first_look(3)
@pytest.mark.parametrize("name", CHANGES)
def test_files_stored_otherwise_are_detected(name, monkeypatch):
    """Every second picture is a member and stored in the first way, the others in the second."""
    monkeypatch.setattr(permutation, "PERMUTATIONS", 19)
    member = np.arange(N) % 2 == 0
    ways = CHANGES[name]
    items = [of_file(ways[not m](scene(i))) for i, m in enumerate(member)]
    row = blind_file_row(file_features(items), member, np.arange(N).astype(str), 0)
    assert row.name == "blind_file"
    assert row.auroc > 0.95
    assert row.p_value == 0.05


def by_camera(model: str):
    exif = Image.Exif()
    exif[0x0110] = model
    return lambda p: saved(p, quality=90, exif=exif)


def with_text(picture: Image.Image) -> bytes:
    """As programs that generate pictures leave their prompt."""
    text = PngImagePlugin.PngInfo()
    text.add_text("parameters", "a cat, steps: 20")
    return saved(picture, "PNG", pnginfo=text)


@pytest.mark.parametrize(
    "ways",
    [
        (with_text, lambda p: saved(p, "PNG")),
        (by_camera("Canon"), by_camera("Nikon")),
        (
            lambda p: saved(p, quality=90, dpi=(72, 72)),
            lambda p: saved(p, quality=90, dpi=(96, 96)),
        ),
    ],
)
def test_what_programs_and_cameras_write_beside_a_picture_is_seen(ways):
    """The same of every picture that is stored in one way, and something else in the other."""
    names = [f for f in NAMES if f.startswith(("log characters", "log dots", "maker"))]
    one, other = (named(way(scene(0))) for way in ways)
    assert any(one[name] != other[name] for name in names)
    again_one, again_other = (named(way(scene(1))) for way in ways)
    assert [one[n] for n in names] == [again_one[n] for n in names]
    assert [other[n] for n in names] == [again_other[n] for n in names]


@pytest.mark.first_look
@pytest.mark.parametrize("seed", range(4))
def test_nothing_is_found_where_storage_does_not_follow_membership(seed, monkeypatch):
    """Storage is mixed in both sets; p of 99 permutations is at its least in one of 100 tries."""
    monkeypatch.setattr(permutation, "PERMUTATIONS", 99)
    rng = np.random.default_rng(seed)
    ways = [way for pair in CHANGES.values() for way in pair]
    items = [of_file(ways[rng.integers(len(ways))](scene(i))) for i in range(N)]
    member = rng.permutation(np.arange(N) % 2 == 0)
    row = blind_file_row(file_features(items), member, np.arange(N).astype(str), seed)
    assert row.p_value > 0.01
    assert abs(row.auroc - 0.5) < 0.25


def test_a_header_is_read():
    facts = named(with_exif(scene(0)))
    assert (facts["format JPEG"], facts["has exif"], facts["has jfif"]) == (1, 1, 1)
    assert facts["luminance quality"] == facts["chrominance quality"] == 0.9
    assert (facts["sampling 2"], facts["sampling 0"], facts["no file"]) == (1, 0, 0)
    assert facts["log width"] == pytest.approx(np.log(SIDE))
    png = named(saved(scene(0), "PNG"))
    assert (png["format PNG"], png["luminance quality"], png["lacks a table"]) == (1, 0, 1)
    assert png["bits per pixel"] > facts["bits per pixel"]


@pytest.mark.parametrize("quality", [25, 50, 75, 92, 100])
def test_quality_is_that_of_the_tables(quality):
    with Image.open(BytesIO(saved(scene(1), quality=quality))) as image:
        assert jpeg_facts(image).qualities == pytest.approx((quality, quality), abs=1)
        assert jpeg_quality(image.quantization[0]) == pytest.approx(quality, abs=1)


def test_the_steps_are_those_of_the_encoder():
    """Pillow writes tables in zigzag order: (row, column) of its first ten places."""
    places = [(0, 0), (0, 1), (1, 0), (2, 0), (1, 1), (0, 2), (0, 3), (1, 2), (2, 1), (3, 0)]
    with Image.open(BytesIO(saved(scene(1), quality=50))) as image:
        table = image.quantization[0]
    in_zigzag = {place: table[i] for i, place in enumerate(places)}
    in_rows = {(r, c): table[8 * r + c] for r, c in places}
    assert STEPS_AT_50 in ({p: t[p] for p in STEPS_AT_50} for t in (in_zigzag, in_rows))


def test_traces_are_the_formula():
    """Literally: block by block, one transform after the other, sides not of whole blocks."""
    rng = np.random.default_rng(0)
    luminance = rng.uniform(0, 255, (19, 27))
    cosines = []
    for top in (0, 8):
        for left in (0, 8, 16):
            block = luminance[top : top + 8, left : left + 8] - 128
            transformed = dct(dct(block, axis=0, norm="ortho"), axis=1, norm="ortho")
            for (row, column), step in STEPS_AT_50.items():
                if abs(transformed[row, column]) > step / 2:
                    cosines.append(np.cos(2 * np.pi * transformed[row, column] / step))
    at_50 = TRACED_QUALITIES.index(50)
    assert compression_traces(luminance)[at_50] == pytest.approx(np.mean(cosines))
    assert compression_traces(np.zeros((7, 30))) == [0.0] * len(TRACED_QUALITIES)


def test_a_compression_leaves_its_trace_in_what_is_saved_after_it():
    quality_60 = f"traces of quality {60}"
    once, twice = named(saved(scene(2), quality=90)), named(again(scene(2), 60, 90))
    assert twice[quality_60] > 0.8
    assert once[quality_60] < 0.3
    png = named(saved(Image.open(BytesIO(saved(scene(2), quality=60))), "PNG"))
    assert png[quality_60] > 0.8


def test_what_is_no_file_or_broken_is_a_fact_of_its_own():
    drawing = Item("made:1", "", "a", lambda _: scene(0))
    rows = file_features([drawing, of_file(b"\x89PNG nothing"), of_file(saved(scene(0)))])
    assert rows[:, -1].tolist() == [1, 1, 0]
    assert not rows[:2, :-1].any()
    assert rows.shape == (3, len(NAMES))


def test_files_that_do_not_differ_at_all_are_even(monkeypatch):
    monkeypatch.setattr(permutation, "PERMUTATIONS", 19)
    member = np.arange(20) % 2 == 0
    row = blind_file_row(np.ones((20, len(NAMES))), member, np.arange(20).astype(str), 0)
    assert (row.auroc, row.p_value) == (0.5, 1.0)
