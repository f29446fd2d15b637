"""Single marks as SVG text: words, markers, and the entries of a legend."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import escape

from mia_bench.display.svg.style import paint

GLYPH_PIXELS = 7.2  # mean width of a character of the legend, in pixels


@dataclass(frozen=True)
class Key:
    """One entry of a legend."""

    label: str
    series: int
    kind: str = "line"  # or "dot", "box", a shape


def text_mark(x: float, y: float, text: str, kind: str) -> str:
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}">{escape(text)}</text>'


def title_mark(text: str) -> str:
    return f"<title>{escape(text)}</title>"


def shape_mark(shape: str, x: float, y: float, r: float = 4.5) -> str:
    corners = {
        "square": ((-r, -r), (r, -r), (r, r), (-r, r)),
        "diamond": ((0, -r * 1.3), (r * 1.3, 0), (0, r * 1.3), (-r * 1.3, 0)),
        "up": ((0, -r * 1.2), (r * 1.15, r * 0.9), (-r * 1.15, r * 0.9)),
        "down": ((0, r * 1.2), (r * 1.15, -r * 0.9), (-r * 1.15, -r * 0.9)),
    }.get(shape)
    if shape == "cross":
        a, b = r * 1.1, r * 0.4
        corners = (
            *((-b, -a), (b, -a), (b, -b), (a, -b), (a, b), (b, b)),
            *((b, a), (-b, a), (-b, b), (-a, b), (-a, -b), (-b, -b)),
        )
    if corners is None:
        return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{r}"/>'
    points = " ".join(f"{x + dx:.1f},{y + dy:.1f}" for dx, dy in corners)
    return f'<polygon points="{points}"/>'


def swatch(key: Key, left: float, y: float) -> str:
    if key.kind == "line":
        return f'<path class="l {paint(key.series)}" d="M{left:.1f},{y:.1f} h22"/>'
    if key.kind == "box":
        box = f'x="{left + 4:.1f}" y="{y - 5:.1f}" width="16" height="10"'
        return f'<rect class="a o {paint(key.series)}" {box}/>'
    return f'<g class="p {paint(key.series)}">{shape_mark(key.kind, left + 12, y)}</g>'


def legend_rows(keys: Sequence[Key], width: float) -> list[list[tuple[float, Key]]]:
    """Entries from left to right, in as many lines as they need."""
    rows: list[list[tuple[float, Key]]] = []
    used = width + 1
    for key in keys:
        need = 28 + len(key.label) * GLYPH_PIXELS + 14
        if used + need > width or not rows:
            rows.append([])
            used = 0
        rows[-1].append((used, key))
        used += need
    return rows
