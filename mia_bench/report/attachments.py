"""What lies beside the runs: loss curves of fine-tuning, utility, sample grids, evidence.

All of it may be missing, and none of it may stop a report. Pictures are decoded here and encoded
again, so that the page holds pictures and nothing else that a file may have carried.
"""

from __future__ import annotations

import base64
import io
import math
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mia_bench.display.pictures.image_text import GAP_PIXELS, LINE_PIXELS
from mia_bench.report.load import Problem, RunResult
from mia_bench.storage import layout
from mia_bench.storage.index import files_in, unverified, utility_folders
from mia_bench.storage.stored_files import (
    Unreadable,
    changed_files,
    leads_out,
    read_evidence_rows,
    read_history,
    read_manifest,
    read_object,
)
from mia_bench.storage.stored_models import StoredEvidenceRow

if TYPE_CHECKING:
    from PIL import Image

MAX_PICTURE_PIXELS = 1100  # pixels of a picture on the page, its longer side
JPEG_QUALITY = 82
PICTURE_BYTES = 2_500_000  # bytes of pictures on one page
MAX_DECODED_PIXELS = 24_000_000  # pixels of one picture: four panels of 2048 a side, and its text
PAGE_DECODED_PIXELS = 150_000_000  # pixels that are decoded for one page: some seconds
MAX_STRIPS = 12


@dataclass(frozen=True)
class Training:
    """train.csv of one model: steps and, by name, losses of the same length."""

    steps: tuple[float, ...]
    losses: dict[str, tuple[float, ...]]
    epochs: float | None = None
    """At the last of the steps, where it is recorded."""


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
    path = layout.model_folder(outputs, model_key) / layout.HISTORY_FILE
    try:
        rows = read_history(_inside(path, outputs))
        if not rows:
            return None
        names = [n for n in rows[0] if n == "train_loss" or n.startswith("val_")]
        losses = {name: tuple(row[name] for row in rows) for name in names}
    except Unreadable as error:
        return Problem(path.relative_to(outputs).as_posix(), str(error))
    except KeyError as error:
        return Problem(path.relative_to(outputs).as_posix(), f"{error} is not in every row")
    return Training(tuple(row["step"] for row in rows), losses, rows[-1].get("epoch"))


def read_utility(outputs: Path, model_key: str, step: str) -> Utility | Problem | None:
    """The newest utility of one model at one step; None where nothing was measured, a problem where
    its manifest does not vouch for the figures."""
    folders = utility_folders(outputs, model_key, step)
    if not folders:
        return None
    path, samples = (folders[-1] / name for name in (layout.UTILITY_FILE, layout.SAMPLES_FILE))
    place = path.relative_to(outputs).as_posix()
    try:
        entries = read_object(_inside(path, outputs))
        shown = [one.name for one in (path, samples) if one.exists()]
        problem = unverified(path.parent, read_manifest(path.parent), *shown)
    except Unreadable as error:
        return Problem(place, str(error))
    if problem is not None:
        return Problem(place, f"not shown: {problem}")
    numbers = {
        name: float(value)
        for name, value in entries.items()
        if isinstance(value, int | float) and math.isfinite(value)
    }
    features = str(entries.get("frechet_features") or "")
    grid = samples if samples.is_file() and not leads_out(samples, outputs) else None
    return Utility(numbers, features, grid)


def _inside(path: Path, outputs: Path) -> Path:
    """`path`. Raises Unreadable where a link leads out of outputs/."""
    if leads_out(path, outputs):
        raise Unreadable("unreadable: it is a link that leads out of the folder of outputs")
    return path


class Album:
    """Encodes pictures for the page until one of its budgets is used up.

    A picture's size is read from its header: what is too large is never decoded, one picture is in
    memory at a time, and it is reduced before anything else is done with it.
    """

    def __init__(self, budget: int = PICTURE_BYTES, pixels: int = PAGE_DECODED_PIXELS) -> None:
        self.left = budget
        self.pixels_left = pixels

    def add(self, path: Path, skip: int = 0) -> str | Problem | None:
        """A data URI without the upper `skip` pixels; None when the budget is used up.

        What is no picture is a problem.
        """
        if self.left <= 0:
            return None
        try:
            with _header(path) as opened:
                size = opened.width * opened.height
                if size > MAX_DECODED_PIXELS:
                    shape = f"{opened.width:,} x {opened.height:,} pixels"
                    what = f"is not shown: {shape}, at most {MAX_DECODED_PIXELS:,} in all"
                    return Problem(path.name, what)
                if size > self.pixels_left:
                    return None
                self.pixels_left -= size
                picture = _reduced(opened, skip).convert("RGB")
            encoded = io.BytesIO()
            picture.save(encoded, "WEBP", quality=JPEG_QUALITY, method=4)
        except Exception as error:
            return Problem(path.name, f"is no picture that can be shown: {error}")
        data = encoded.getvalue()
        self.left -= len(data)
        return "data:image/webp;base64," + base64.b64encode(data).decode()


def _header(path: Path) -> Image.Image:
    """A PNG whose size is known and of which nothing is decoded yet."""
    from PIL import Image

    with warnings.catch_warnings():  # Pillow's, of a size that is judged here
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        return Image.open(path, formats=["PNG"])


def _reduced(picture: Image.Image, skip: int) -> Image.Image:
    """What lies below the upper `skip` pixels, within MAX_PICTURE_PIXELS either way."""
    top = skip if 0 < skip < picture.height else 0
    scale = min(1.0, MAX_PICTURE_PIXELS / max(picture.width, picture.height - top))
    if scale == 1.0:
        return picture.crop((0, top, *picture.size))
    plain = picture if picture.mode in ("L", "RGB", "RGBA") else picture.convert("RGB")
    width, height = (max(1, round(side * scale)) for side in (plain.width, plain.height - top))
    return plain.resize((width, height), box=(0, top, *plain.size), reducing_gap=2.0)


def read_evidence(run: RunResult, album: Album) -> tuple[Evidence | None, list[Problem]]:
    """The strips of a run's evidence folder, in the order in which they were chosen; none where its
    manifest does not vouch for their index, and no strip for which it does not."""
    folder = run.ref.folder / layout.EVIDENCE_FOLDER
    if not folder.is_dir():
        return None, []
    if leads_out(folder, run.ref.folder):
        where = f"{run.ref.place}/{layout.EVIDENCE_FOLDER}"
        return None, [Problem(where, "not shown: it is a link that leads out of the run's folder")]
    strips: list[Strip] = []
    rows, problems = _vouched(folder, run.ref.place)
    unshown = len(problems)
    for row in rows[:MAX_STRIPS]:
        # a strip that has its words in the index need not show them as pixels too
        skip = 0 if row.caption is None else GAP_PIXELS + 2 * LINE_PIXELS
        picture = album.add(folder / row.file, skip)
        if isinstance(picture, Problem):
            problems.append(picture)
        elif picture is not None:
            strips.append(_strip(row, picture))
    left_out = len(rows) - len(strips) - (len(problems) - unshown)
    return (Evidence(run, tuple(strips), left_out) if rows else None), problems


def _vouched(folder: Path, place: str) -> tuple[list[StoredEvidenceRow], list[Problem]]:
    """As `_index`, of what the manifest vouches for: a score or a caption may have been edited."""
    rows, problems = _index(folder, place)
    try:
        manifest = read_manifest(folder)
    except Unreadable as error:
        return [], [*problems, Problem(f"{place}/{folder.name}", f"not shown: {error}")]
    index = layout.EVIDENCE_INDEX_FILE
    has_index = index in manifest.get("files", {}) or (folder / index).exists()
    problem = unverified(folder, manifest, *([index] if has_index else ()))
    if problem is not None:
        return [], [*problems, Problem(f"{place}/{folder.name}", f"not shown: {problem}")]
    changes = {row.file: changed_files(folder, manifest, [row.file]) for row in rows}
    problems += [
        Problem(f"{place}/{folder.name}", f"not shown: {words}")
        for changed in changes.values()
        for words in changed
    ]
    return [row for row in rows if not changes[row.file]], problems


def _index(folder: Path, place: str) -> tuple[list[StoredEvidenceRow], list[Problem]]:
    """Rows of the index whose file lies in the folder; without an index, its pictures by name."""
    pictures = files_in(folder, ".png")
    names = {path.name for path in pictures if not leads_out(path, folder)}
    problems = [
        Problem(f"{place}/{folder.name}/{path.name}", "not shown: it leads out of the folder")
        for path in pictures
        if path.name not in names
    ]
    by_name = [StoredEvidenceRow(file=n) for n in sorted(names - {layout.EVIDENCE_SHEET_FILE})]
    if not (folder / layout.EVIDENCE_INDEX_FILE).exists():
        return by_name, problems
    try:
        return [row for row in read_evidence_rows(folder) if row.file in names], problems
    except Unreadable as error:
        return by_name, [*problems, Problem(f"{place}/{folder.name}", str(error))]


def _strip(row: StoredEvidenceRow, picture: str) -> Strip:
    label = "" if row.is_member is None else "member" if row.is_member else "non-member"
    sample_id = row.sample_id or Path(row.file).stem
    return Strip(picture, sample_id, row.caption or "", row.score, label, row.why)


def licences(runs: Iterable[RunResult]) -> dict[str, str]:
    """Licence line by data set, from this package's own readers; a run's dotpath is not imported
    unless it lies in them."""
    return {run.data: _licence(run.config["data"].get("source") or {}) for run in runs}


def _licence(source: Mapping[str, object]) -> str:
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
