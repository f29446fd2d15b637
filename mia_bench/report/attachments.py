"""What lies beside the runs: loss curves of fine-tuning, utility, sample grids, evidence.

All of it may be missing, and none of it may stop a report. Pictures are decoded here and encoded
again, so that the page holds pictures and nothing else that a file may have carried.
"""

from __future__ import annotations

import base64
import csv
import io
import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mia_bench.display.image_text import GAP_PIXELS, LINE_PIXELS
from mia_bench.report.load import Problem, RunResult
from mia_bench.storage.files import read_json
from mia_bench.utils.errors import MiaError

MAX_PICTURE_PIXELS = 1100  # pixels of a picture on the page
JPEG_QUALITY = 82
PICTURE_BYTES = 2_500_000  # bytes of pictures on one page
MAX_STRIPS = 12


@dataclass(frozen=True)
class Training:
    """train.csv of one model: steps and, by name, losses of the same length."""

    steps: tuple[float, ...]
    losses: dict[str, tuple[float, ...]]


@dataclass(frozen=True)
class Utility:
    """Flat numbers of utility.json (null ones left out), and the grid of samples, if any."""

    values: dict[str, float]
    features: str
    samples: Path | None


@dataclass(frozen=True)
class Strip:
    """One picture of an attack's evidence, with what is known of its row."""

    picture: str
    sample_id: str
    caption: str
    score: float | None
    label: str
    why: str

    @property
    def alt(self) -> str:
        return f"Original, degraded, restored and difference of {self.sample_id}. {self.caption}"


@dataclass(frozen=True)
class Evidence:
    """The strips of one run; `left_out` counts those beyond the page's budget."""

    run: RunResult
    strips: tuple[Strip, ...]
    left_out: int


def read_training(outputs: Path, model_key: str) -> Training | Problem | None:
    """Losses of a fine-tune; None where there is no file, as for an untouched base."""
    path = outputs / "targets" / model_key / "train.csv"
    if not path.is_file():
        return None
    try:
        with path.open(newline="", encoding="utf-8") as handle:
            rows = list(csv.DictReader(handle))
        names = [n for n in rows[0] if n == "train_loss" or n.startswith("val_")]
        steps = tuple(float(row["step"]) for row in rows)
        losses = {name: tuple(float(row[name]) for row in rows) for name in names}
    except (OSError, ValueError, KeyError, IndexError, TypeError) as error:
        return Problem(f"targets/{model_key}/train.csv", f"cannot be read: {error!r}")
    if not all(math.isfinite(v) for values in (steps, *losses.values()) for v in values):
        return Problem(f"targets/{model_key}/train.csv", "holds losses that are not finite")
    return Training(steps, losses)


def read_utility(outputs: Path, model_key: str, step: str) -> Utility | Problem | None:
    """The newest utility of one model at one step; None where nothing was measured."""
    found = sorted(
        (outputs / "utility" / model_key / step).glob("*/utility.json"),
        key=lambda path: path.stat().st_mtime,
    )
    found = [path for path in found if not path.parent.name.endswith(".tmp")]
    if not found:
        return None
    path = found[-1]
    try:
        values = read_json(path)
        flat = {
            name: float(value)
            for name, value in values.items()
            if isinstance(value, int | float) and math.isfinite(value)
        }
    except Exception as error:
        return Problem(path.relative_to(outputs).as_posix(), f"cannot be read: {error}")
    samples = path.with_name("samples.png")
    features = str(values.get("frechet_features") or "")
    return Utility(flat, features, samples if samples.is_file() else None)


class Album:
    """Encodes pictures for the page until its budget is used up."""

    def __init__(self, budget: int = PICTURE_BYTES) -> None:
        self.left = budget

    def add(self, path: Path, skip: int = 0) -> str | Problem | None:
        """A data URI without the upper `skip` pixels; None when the budget is used up.

        What is no picture is a problem.
        """
        from PIL import Image

        if self.left <= 0:
            return None
        try:
            with Image.open(path, formats=["PNG"]) as opened:
                picture = opened.convert("RGB")
            if 0 < skip < picture.height:
                picture = picture.crop((0, skip, *picture.size))
            if picture.width > MAX_PICTURE_PIXELS:
                height = max(1, round(picture.height * MAX_PICTURE_PIXELS / picture.width))
                picture = picture.resize((MAX_PICTURE_PIXELS, height))
            encoded = io.BytesIO()
            picture.save(encoded, "WEBP", quality=JPEG_QUALITY, method=4)
        except Exception as error:
            return Problem(path.name, f"is no picture that can be shown: {error}")
        data = encoded.getvalue()
        self.left -= len(data)
        return "data:image/webp;base64," + base64.b64encode(data).decode()


def read_evidence(run: RunResult, album: Album) -> tuple[Evidence | None, list[Problem]]:
    """The strips of a run's evidence folder, in the order in which they were chosen."""
    folder = run.folder / "evidence"
    if not folder.is_dir():
        return None, []
    problems: list[Problem] = []
    strips: list[Strip] = []
    known = _index(folder)
    for entry in known[:MAX_STRIPS]:
        # a strip that has its words in the index need not show them as pixels too
        picture = album.add(
            folder / entry["file"], GAP_PIXELS + 2 * LINE_PIXELS if "caption" in entry else 0
        )
        if isinstance(picture, Problem):
            problems.append(picture)
        elif picture is not None:
            strips.append(_strip(entry, picture))
    left_out = len(known) - len(strips) - len(problems)
    return (Evidence(run, tuple(strips), left_out) if known else None), problems


def _index(folder: Path) -> list[dict[str, Any]]:
    """Rows of index.json whose file lies in the folder; without an index, its pictures by name."""
    names = {path.name for path in folder.glob("*.png")}
    try:
        rows = read_json(folder / "index.json")["rows"]
        return [row for row in rows if row["file"] in names]
    except (MiaError, TypeError, KeyError):
        return [{"file": name} for name in sorted(names - {"evidence.png"})]


def _strip(entry: dict[str, Any], picture: str) -> Strip:
    score, member = entry.get("score"), entry.get("is_member")
    return Strip(
        picture,
        str(entry.get("sample_id") or Path(entry["file"]).stem),
        str(entry.get("caption", "")),
        float(score) if isinstance(score, int | float) else None,
        "" if member is None else "member" if member else "non-member",
        str(entry.get("why", "")),
    )


def licences(runs: Iterable[RunResult]) -> dict[str, str]:
    """Licence line by data set, from this package's own readers; a run's dotpath is not imported
    unless it lies in them."""
    return {run.data: _licence(run.config["data"].get("source") or {}) for run in runs}


def _licence(source: dict[str, Any]) -> str:
    from hydra.utils import get_class

    if isinstance(source.get("licence"), str):
        return str(source["licence"])
    path = str(source.get("_target_", ""))
    if not path.startswith("mia_bench.data."):
        return "not stated"
    try:
        licence = getattr(get_class(path), "licence", None)
    except Exception:  # a reader of another version
        return "not stated"
    return licence if isinstance(licence, str) else "not stated"
