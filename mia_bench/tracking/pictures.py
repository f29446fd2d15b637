"""Pictures that a W&B run holds: what an attack made of a few rows, samples, figures.

Captions stay at home. The strips of an attack's evidence have them drawn above their panels, and so
has the sheet of all strips: strips are sent without these lines, the sheet is not.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mia_bench.display.pictures.image_text import GAP_PIXELS, LINE_PIXELS
from mia_bench.storage import layout
from mia_bench.storage.index import files_in, unverified
from mia_bench.storage.stored_files import Unreadable, leads_out, read_manifest
from mia_bench.utils.errors import MiaError
from mia_bench.utils.text import safe_name

if TYPE_CHECKING:
    from PIL.Image import Image

MAX_PICTURES = 16
# above a strip's panels: what is known, and the caption
WORDS_PIXELS = GAP_PIXELS + 2 * LINE_PIXELS


def evidence_strips(folder: Path) -> list[Path]:
    """The first strips of an evidence folder; no links that lead out of it."""
    strips = [
        path
        for path in files_in(folder, ".png")
        if path.name != layout.EVIDENCE_SHEET_FILE and not leads_out(path, folder.parent)
    ]
    return strips[:MAX_PICTURES]


def vouched(paths: Sequence[Path]) -> Sequence[Path]:
    """`paths`, each of which is what the manifest beside it vouches for.

    Raises:
        MiaError: one changed since it was written, or has no manifest beside it.
    """
    for path in paths:
        problem = unverified(path.parent, read_manifest(path.parent), path.name)
        if problem is not None:
            raise MiaError(f"unverified: {path.parent.name}/{problem}")
    return paths


def without_words(paths: Sequence[Path]) -> dict[str, Image]:
    """The panels of strips, by the stems of their files. Raises Unreadable for what is none."""
    from PIL import Image

    panels = {}
    for path in paths:
        try:
            with Image.open(path, formats=["PNG"]) as strip:
                if strip.height <= WORDS_PIXELS:
                    raise Unreadable(f"unreadable: {path.name}: it is no strip of an attack")
                panels[path.stem] = strip.crop((0, WORDS_PIXELS, *strip.size))
        except Unreadable:
            raise
        except Exception as error:  # whatever a damaged file does to its decoder
            raise Unreadable(f"unreadable: {path.name}: {error}") from error
    return panels


def wandb_images(name: str, pictures: Mapping[str, Any]) -> dict[str, Any]:
    """`pictures`, files or pictures by name, as W&B takes them; nothing where there are none."""
    import wandb

    shown = [wandb.Image(picture, caption=safe_name(stem)) for stem, picture in pictures.items()]
    return {name: shown} if shown else {}


def wandb_files(name: str, paths: Sequence[Path]) -> dict[str, Any]:
    """`wandb_images` of whole files."""
    return wandb_images(name, {path.stem: str(path) for path in paths})
