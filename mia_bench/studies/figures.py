"""What the figures of studies share: matplotlib without a window, bands of intervals, and the words
of commands that draw finished runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mia_bench.config.arguments import OUTPUTS, Arguments
from mia_bench.config.command_spec import Option
from mia_bench.utils.errors import MiaError

if TYPE_CHECKING:
    from mia_bench.storage.index import RunRef

ENDINGS = (".png", ".svg", ".pdf")
CURVE_OPTIONS = (
    OUTPUTS,
    Option("figure", "where the curves are drawn (.png, .svg or .pdf)", "FILE"),
    Option("resamples", "draws that intervals rest on", "N", "2000"),
)
"""Of a command that prints a curve of finished runs and draws it."""


def runs_and_figure(arguments: Arguments, kind: str) -> tuple[list[RunRef], Path | None]:
    """The runs that a command with `CURVE_OPTIONS` names, and the file it draws them in.

    Args:
        kind: of run that is wanted, for the message.

    Raises:
        MiaError: the file has another ending, or no run is named.
    """
    from mia_bench.storage.index import find_all_runs

    file = arguments.path("figure") if "figure" in arguments else None
    if file is not None and file.suffix not in ENDINGS:
        raise MiaError(f"figure={file}: a file that ends with {', '.join(ENDINGS)} is needed.")
    refs = find_all_runs(arguments.words, arguments.path(OUTPUTS.key))
    if not refs:
        raise MiaError(f"lock files alone were given: give folders of finished runs of {kind}.")
    return refs, file


def windowless_pyplot() -> Any:
    """matplotlib's pyplot, drawing into files alone; imported where a figure is drawn."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    return pyplot


def interval_band(
    axes: Any, places: Sequence[float], entries: Sequence[Mapping[str, Any]], colour: Any
) -> None:
    """Shade between `lo` and `hi` of the entries {"value", "lo", "hi"}, one for each of `places`;
    those without an interval are left out."""
    band = [(x, e) for x, e in zip(places, entries, strict=True) if e["lo"] is not None]
    axes.fill_between(
        [x for x, _ in band],
        [entry["lo"] for _, entry in band],
        [entry["hi"] for _, entry in band],
        color=colour,
        alpha=0.15,
        linewidth=0,
    )


def as_written(text: str) -> str:
    """`text` for matplotlib to draw letter by letter: a name in somebody else's run may hold dollar
    signs, between which it would read a formula."""
    return text.replace("$", r"\$")


def save_figure(figure: Any, file: Path) -> Path:
    """Write and close `figure`; the ending of `file` decides how."""
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, dpi=130)
    windowless_pyplot().close(figure)
    return file
