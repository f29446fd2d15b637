"""The audit as one HTML file that asks no network, and a csv of every picture's exposure.

Captions, file names and models' names come from others: the template escapes all of it, pictures
are decoded and encoded again, and the content security policy allows no script at all.
"""

from __future__ import annotations

import base64
import csv
import io
import shlex
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from markupsafe import Markup
from PIL import Image

from mia_bench.audit.experiment import evidence_counts, evidence_evaluations, evidence_panels
from mia_bench.audit.findings import exposure
from mia_bench.audit.request import SHOWN
from mia_bench.audit.result import (
    AuditResult,
    known_remarks,
    number_lines,
    set_remarks,
    share_words,
)
from mia_bench.audit.scores import COMBINED
from mia_bench.audit.verdict import Answer
from mia_bench.data.readers.preprocessing import to_rgb
from mia_bench.data.source import Item
from mia_bench.data.split.near_duplicates import Thumbnails, thumbnails
from mia_bench.display.page_template import page_templates
from mia_bench.display.svg import Key, Plane, linear, standalone
from mia_bench.storage import layout
from mia_bench.storage.files import read_json
from mia_bench.utils.errors import MiaError
from mia_bench.utils.text import safe_name, table_cell

TEMPLATE = Path(__file__).parent / "template"
THUMBNAIL_PIXELS = 160
RENDER_PIXELS = 256  # at which drawings are rendered
JPEG_QUALITY = 85
PRINTED_MOST, PRINTED_LEAST = 10, 5  # pictures on the second sheet of the PDF
BINS = 20
CHART_HEIGHT = 240
COLOURS = {Answer.YES: "bad", Answer.NO_EVIDENCE: "good", Answer.CANNOT_SAY: "warn"}


@dataclass(frozen=True)
class ShownPicture:
    """A picture on the page, with what the panel says of it and the one that is most like it."""

    name: str
    picture: str
    caption: str
    score: float
    percentile: float
    neighbour_name: str
    neighbour: str
    neighbour_percentile: float


@dataclass(frozen=True)
class ShownEvidence:
    """What the model makes of a picture: (name, picture) of every panel."""

    name: str
    panels: list[tuple[str, str]]


@dataclass(frozen=True)
class AuditPage:
    """Everything the template shows."""

    result: AuditResult
    folder: Path
    manifest: Mapping[str, Any]
    chart: Markup
    most: list[ShownPicture]
    least: list[ShownPicture]
    numbers: list[str]
    remarks: list[str]
    evidence: list[ShownEvidence]

    @property
    def command(self) -> str:
        return shlex.join(str(word) for word in self.manifest.get("command") or ["unknown"])

    @property
    def share(self) -> str | None:
        return share_words(self.result)

    @property
    def evidence_cost(self) -> int:
        """U-Net evaluations that evidence=true would have taken."""
        prepared = self.result.prepared
        return evidence_evaluations(prepared.sets.counts[0], prepared.captions)

    @property
    def colour(self) -> str:
        return {"yes": "bad", "no evidence": "good", "cannot say": "warn"}[
            self.result.verdict.answer
        ]


def write_page(result: AuditResult, folder: Path) -> Path:
    """index.html and exposure.csv under reports/<name>/; the page's path."""
    request = result.prepared.request
    out = layout.report_folder(request.outputs, safe_name(request.name))
    out.mkdir(parents=True, exist_ok=True)
    page, shown = out / "index.html", page_of(result, folder)
    page.write_text(render(shown), encoding="utf-8")
    (out / layout.EXPOSURE_FILE).write_text(as_csv(exposure(result.scores.table)), encoding="utf-8")
    if request.pdf:
        write_pdf(shown, out / "audit.pdf")
    return page


def page_of(result: AuditResult, folder: Path) -> AuditPage:
    prepared = result.prepared
    most, least = shown_pictures(result)
    remarks = [
        *set_remarks(prepared.sets, prepared.differences, prepared.labels),
        prepared.captions.words,
        *(known_remarks(prepared.known) if prepared.known is not None else ()),
        prepared.model.remark,
        *([prepared.seal_words] if prepared.seal_words else []),
    ]
    return AuditPage(
        result,
        folder,
        read_json(folder / layout.MANIFEST_FILE),
        score_chart(result.scores.table, prepared.labels),
        *(most, least, list(number_lines(result)), remarks, _evidence(result)),
    )


def _evidence(result: AuditResult) -> list[ShownEvidence]:
    """The most and the least exposed pictures as the model sees them, where that was asked for."""
    if not result.prepared.request.evidence:
        return []
    rows = exposure(result.scores.table)
    most, least = evidence_counts(len(rows))
    ends = pd.concat([rows.head(most), rows.tail(least)])
    panels = evidence_panels(result.prepared.run, ends.sample_id.tolist())
    return [
        ShownEvidence(name, [(panel, _jpeg(Image.fromarray(p))) for panel, p in each.items()])
        for name, each in zip(ends.name, panels, strict=True)
    ]


def render(page: AuditPage, print_style: bool = False) -> str:
    """The page as text."""
    environment = page_templates(TEMPLATE)
    styles = ["page.css", *(["print.css"] if print_style else [])]
    style = "\n".join((TEMPLATE / name).read_text(encoding="utf-8") for name in styles)
    text: str = environment.get_template("audit.html.j2").render(
        page=page,
        style=Markup(style),
        print_style=print_style,
        chart=_as_image(page.chart) if print_style else page.chart,
        most=PRINTED_MOST if print_style else SHOWN,
        least=PRINTED_LEAST if print_style else SHOWN,
    )
    return text


def _as_image(chart: Markup) -> Markup:
    """A chart that brings its own style, for a renderer that gives none to what lies in a page."""
    encoded = base64.b64encode(standalone(chart).encode()).decode()
    return Markup(f'<img src="data:image/svg+xml;base64,{encoded}" alt="Scores of the two sets">')


def write_pdf(page: AuditPage, path: Path) -> Path:
    """The page on two sheets of A4. Nothing is fetched, whatever a name or a caption says.

    Raises:
        MiaError: WeasyPrint, an extra, or the system's Pango is not here.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about what later versions of it will need
            from weasyprint import HTML
            from weasyprint.urls import URLFetcher
    except (ImportError, OSError) as error:  # OSError: a library of the system
        raise MiaError(
            f"pdf=true needs WeasyPrint ({error}): pip install 'mia_bench[pdf]', and Pango of the "
            "system (Debian: apt install libpangoft2-1.0-0). The page is there without it."
        ) from error
    embedded_alone = URLFetcher(allowed_protocols=("data",))
    HTML(string=render(page, print_style=True), url_fetcher=embedded_alone).write_pdf(path)
    return path


def score_chart(table: pd.DataFrame, names: tuple[str, str]) -> Markup:
    """Combined scores of both sets, as shares of each set."""
    edges = np.linspace(0, 1, BINS + 1)
    first = table.is_first.to_numpy(dtype=bool)
    scores = table[COMBINED].to_numpy()
    shares = [np.histogram(scores[side], edges)[0] / max(1, side.sum()) for side in (first, ~first)]
    top = max(0.05, *(float(share.max()) for share in shares))
    x, y = (
        linear(0, 1, "combined score: mean rank over the attacks"),
        linear(0, top, "share of the set"),
    )
    plane = Plane(x, y, height=CHART_HEIGHT)
    marks = [
        plane.bars(edges.tolist(), share.tolist(), i)
        for i, share in ((1, shares[1]), (0, shares[0]))
    ]
    keys = [Key(name, i, "box") for i, name in enumerate(names)]
    return plane.draw("Scores of the two sets", marks, keys)


def shown_pictures(result: AuditResult) -> tuple[list[ShownPicture], list[ShownPicture]]:
    """The most and the least exposed pictures of the first set, the most telling first."""
    rows = exposure(result.scores.table)
    count = min(SHOWN, max(1, len(rows) // 2))
    most, least = rows.head(count), rows.tail(count).iloc[::-1]
    ends = [most, least if len(rows) > 1 else least.head(0)]
    items = {item.sample_id: item for item in result.prepared.sets.items}
    second = result.scores.table[~result.scores.table.is_first]
    others = _Neighbours.of(second, items)
    shown = [[_shown(row, items, others) for row in end.to_dict("records")] for end in ends]
    return shown[0], shown[1]


@dataclass(frozen=True)
class _Neighbours:
    """The second set's pictures as 16 x 16 thumbnails (M, 768), and percentiles of their scores."""

    items: list[Item]
    small: Thumbnails
    percentile: Sequence[float]

    @classmethod
    def of(cls, second: pd.DataFrame, items: Mapping[str, Item]) -> _Neighbours:
        from mia_bench.data.source import Listing

        chosen = [items[sid] for sid in second.sample_id]
        scores = second[COMBINED].to_numpy()
        others = max(1, len(scores) - 1)
        percentile = [100 * float((scores < score).sum()) / others for score in scores]
        return cls(chosen, thumbnails(Listing(tuple(chosen))), percentile)

    def nearest(self, item: Item) -> int:
        from mia_bench.data.source import Listing

        own = thumbnails(Listing((item,)))
        return int(np.square(self.small - own).sum(axis=1).argmin())


def _shown(row: Mapping[Any, Any], items: Mapping[str, Item], others: _Neighbours) -> ShownPicture:
    item = items[row["sample_id"]]
    nearest = others.nearest(item)
    neighbour = others.items[nearest]
    return ShownPicture(
        item.name,
        data_uri(item),
        item.caption,
        float(row[COMBINED]),
        float(row["percentile"]),
        neighbour.name,
        data_uri(neighbour),
        others.percentile[nearest],
    )


def data_uri(item: Item) -> str:
    """A small picture in the page: decoded, and encoded again as a JPEG without anything else."""
    return _jpeg(to_rgb(item.load(RENDER_PIXELS)))


def _jpeg(picture: Image.Image) -> str:
    picture.thumbnail((THUMBNAIL_PIXELS, THUMBNAIL_PIXELS), Image.Resampling.LANCZOS)
    encoded = io.BytesIO()
    picture.save(encoded, "JPEG", quality=JPEG_QUALITY)
    return "data:image/jpeg;base64," + base64.b64encode(encoded.getvalue()).decode()


def as_csv(rows: pd.DataFrame) -> str:
    """Exposure of every picture of the first set, the most exposed first.

    A name that a spreadsheet would compute gets a quote in front.
    """
    text = io.StringIO()
    writer = csv.writer(text)
    columns = [name for name in rows if name not in ("is_first", "group")]
    writer.writerow(columns)
    for record in rows[columns].to_dict("records"):
        writer.writerow(_spreadsheet(value) for value in record.values())
    return text.getvalue()


def _spreadsheet(value: object) -> object:
    if isinstance(value, float):
        return f"{value:.6g}"
    return table_cell(value)
