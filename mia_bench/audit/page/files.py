"""The files of an audit's page: one HTML that asks no network, a PDF of two sheets, and a csv.

Captions, file names and models' names come from others: the template escapes all of it, and the
content security policy allows no script at all.
"""

from __future__ import annotations

import base64
import csv
import io
import warnings
from pathlib import Path

import pandas as pd
from markupsafe import Markup

from mia_bench.audit.findings import exposure
from mia_bench.audit.page.content import AuditPage, page_of
from mia_bench.audit.request import SHOWN
from mia_bench.audit.result import AuditResult
from mia_bench.display.page_template import page_templates
from mia_bench.display.svg.style import standalone
from mia_bench.storage import layout
from mia_bench.utils.errors import MiaError
from mia_bench.utils.text import safe_name, table_cell

TEMPLATE = Path(__file__).parent / "template"
PRINTED_MOST, PRINTED_LEAST = 10, 5  # pictures on the second sheet of the PDF


def write_page(result: AuditResult, folder: Path) -> Path:
    """index.html and exposure.csv under reports/<name>/; the page's path."""
    request = result.prepared.request
    out = layout.report_folder(request.outputs, safe_name(request.name))
    out.mkdir(parents=True, exist_ok=True)
    page, shown = out / layout.PAGE_FILE, page_of(result, folder)
    page.write_text(render(shown), encoding="utf-8")
    (out / layout.EXPOSURE_FILE).write_text(as_csv(exposure(result.scores.table)), encoding="utf-8")
    if request.pdf:
        write_pdf(shown, out / "audit.pdf")
    return page


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
