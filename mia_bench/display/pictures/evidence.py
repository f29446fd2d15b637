"""Pictures a person can judge an attack by: the original, what the attack made, the difference.

Rows are chosen from finished scores; an attack with an `evidence` method paints them. Captions come
from data sets and are not trusted: they are drawn as plain text, cut to the width of the picture,
and never become part of a file name.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from mia_bench.display.pictures.image_text import GAP_PIXELS, LINE_PIXELS, draw_line
from mia_bench.storage import layout
from mia_bench.storage.files import write_json
from mia_bench.utils.text import printable, safe_name

if TYPE_CHECKING:
    from torch import Tensor


Pixels = npt.NDArray[np.uint8]

PANELS = ("original", "degraded", "restored")
"""Of attacks that restore once; others name their own, the original first and what it is compared
with last."""
MIN_PANEL_PIXELS = 192  # pixels per panel; smaller images are enlarged by whole factors
MAX_PANEL_PIXELS = 256  # pixels per panel on the sheet

DIFFERENCE_GAIN = 2  # a difference of half the range is drawn white

SHEET_COLUMNS = 2


@dataclass(frozen=True)
class EvidenceRow:
    """One chosen row, as a person should read it."""

    sample_id: str
    caption: str
    score: float
    is_member: bool
    why: str


def choose(
    scores: npt.NDArray[np.float64], is_member: npt.NDArray[np.bool_], seed: int, each: int = 4
) -> dict[str, list[int]]:
    """Rows worth a look, by reason; no row twice.

    "top" are the `each` members with the highest scores; "worst" the lowest members and the highest
    non-members, half of `each` of them (the odd one a member); "bottom" the `each` non-members with
    the lowest scores, as far as they are left; "random" is drawn from all others.
    """
    falling = np.argsort(-np.asarray(scores), kind="stable").tolist()
    members = [i for i in falling if is_member[i]]
    others = [i for i in falling if not is_member[i]]
    top = members[:each]
    missed = members[each:][::-1][: (each + 1) // 2]
    worst = missed + others[: each // 2]
    bottom = others[each // 2 :][::-1][:each]
    rest = sorted(set(falling) - {*top, *worst, *bottom})
    drawn = np.random.default_rng(seed).permutation(len(rest))[:each]
    return {"top": top, "bottom": bottom, "worst": worst, "random": sorted(rest[i] for i in drawn)}


def save_strips(
    folder: Path, images: Mapping[str, Tensor], rows: Sequence[EvidenceRow], title: str = ""
) -> list[Path]:
    """One PNG per row, named after its sample id, and all of them on `evidence.png`, the last path.

    `index.json` beside them says in the same order what is known of each row.

    Args:
        images: (len(rows), 3, H, W) in [-1, 1] by the name of the panel, in their order; the
            difference is that of the first and the last.
    """
    folder.mkdir(parents=True, exist_ok=True)
    page = folder / layout.EVIDENCE_SHEET_FILE
    paths: list[Path] = []
    strips = []
    for i, row in enumerate(rows):
        panels = {name: to_pixels(image[i]) for name, image in images.items()}
        strips.append(strip(panels, row))
        name, copy = safe_name(row.sample_id), 1
        while (path := folder / f"{name}{f'-{copy}' if copy > 1 else ''}.png") in (page, *paths):
            copy += 1
        strips[-1].save(path)
        paths.append(path)
    entries = [{"file": path.name, **_known(row)} for path, row in zip(paths, rows, strict=True)]
    write_json(folder / layout.EVIDENCE_INDEX_FILE, {"rows": entries})
    sheet(strips, title).save(page)
    return [*paths, page]


def strip(panels: Mapping[str, Pixels], row: EvidenceRow) -> Image.Image:
    """The panels and the difference of the first and the last, with what is known of the row above
    them."""
    first_panel, *_, last_panel = panels.values()
    apart = np.abs(first_panel.astype(np.int16) - last_panel.astype(np.int16))
    difference = np.minimum(apart * DIFFERENCE_GAIN, 255).astype(np.uint8)
    pictures = [enlarge(Image.fromarray(panel)) for panel in panels.values()]
    pictures.append(enlarge(Image.fromarray(difference)))
    width, height = pictures[0].size
    canvas = Image.new(
        "RGB",
        (
            len(pictures) * (width + GAP_PIXELS) + GAP_PIXELS,
            height + 3 * LINE_PIXELS + 2 * GAP_PIXELS,
        ),
        "white",
    )
    draw = ImageDraw.Draw(canvas)
    label = "member" if row.is_member else "non-member"
    first = f"{label} | score {row.score:.4g} | {row.why} | {row.sample_id}"
    for line, text in enumerate((first, row.caption)):
        at = GAP_PIXELS, GAP_PIXELS + line * LINE_PIXELS
        draw_line(canvas, at, text, canvas.width - 2 * GAP_PIXELS)
    top = GAP_PIXELS + 3 * LINE_PIXELS
    for i, (name, picture) in enumerate(
        zip((*panels, f"|difference| x {DIFFERENCE_GAIN}"), pictures, strict=True)
    ):
        left = GAP_PIXELS + i * (width + GAP_PIXELS)
        draw_line(canvas, (left, GAP_PIXELS + 2 * LINE_PIXELS), name, width, "dimgray")
        canvas.paste(picture, (left, top))
        draw.rectangle((left - 1, top - 1, left + width, top + height), outline="lightgray")
    return canvas


def sheet(strips: Sequence[Image.Image], title: str) -> Image.Image:
    """All strips on one page, in reading order, large ones reduced."""
    limit = 4 * MAX_PANEL_PIXELS + 5 * GAP_PIXELS
    small = [s if s.width <= limit else s.resize(_fitted(s, limit)) for s in strips]
    width = max((s.width for s in small), default=limit)
    height = max((s.height for s in small), default=0)
    lines = -(-len(small) // SHEET_COLUMNS)
    page = Image.new(
        "RGB", (SHEET_COLUMNS * width, 2 * LINE_PIXELS + lines * (height + GAP_PIXELS)), "white"
    )
    draw_line(page, (GAP_PIXELS, GAP_PIXELS), title, page.width - 2 * GAP_PIXELS)
    for i, picture in enumerate(small):
        line, column = divmod(i, SHEET_COLUMNS)
        page.paste(picture, (column * width, 2 * LINE_PIXELS + line * (height + GAP_PIXELS)))
    return page


def to_pixels(image: Tensor) -> Pixels:
    """(3, H, W) in [-1, 1] -> (H, W, 3) bytes; what is not finite is drawn mid-grey."""
    values = np.nan_to_num(image.detach().float().cpu().numpy(), nan=0.0, posinf=1, neginf=-1)
    pixels: Pixels = np.rint((values.clip(-1, 1) + 1) * 127.5).astype(np.uint8).transpose(1, 2, 0)
    return pixels


def enlarge(picture: Image.Image) -> Image.Image:
    """By a whole factor, without smoothing, until a person sees its pixels."""
    factor = max(1, -(-MIN_PANEL_PIXELS // min(picture.size)))
    size = (picture.width * factor, picture.height * factor)
    return picture.resize(size, Image.Resampling.NEAREST)


def _known(row: EvidenceRow) -> dict[str, Any]:
    """The row as JSON can hold it."""
    score = row.score if np.isfinite(row.score) else None
    words = {name: printable(getattr(row, name)) for name in ("sample_id", "caption", "why")}
    return {**words, "score": score, "is_member": bool(row.is_member)}


def _fitted(picture: Image.Image, width: int) -> tuple[int, int]:
    return width, round(picture.height * width / picture.width)
