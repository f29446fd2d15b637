"""A chart: two axes, the marks between them, a title and a legend; and several in one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from textwrap import wrap

from markupsafe import Markup, escape

from mia_bench.display.svg.axes import Axis, number
from mia_bench.display.svg.labels import overlap, spread
from mia_bench.display.svg.marks import (
    GLYPH_PIXELS,
    Key,
    legend_rows,
    shape_mark,
    swatch,
    text_mark,
    title_mark,
)
from mia_bench.display.svg.style import paint

WIDTH, HEIGHT = 460, 320
LEFT, RIGHT, TOP, BOTTOM = 60, 22, 30, 44
LINE_PIXELS = 18
TITLE_CHARACTERS = 60  # characters of a title that fit on one line
READING_PIXELS = 6  # radius around a point of a curve where a pointer reads its value
LABEL_GAP_PIXELS = 13  # between the baselines of two labels

Point = tuple[float, float]


@dataclass(frozen=True)
class Plane:
    """Maps data to pixels and draws marks; each method returns SVG text."""

    x: Axis
    y: Axis
    width: int = WIDTH
    height: int = HEIGHT
    right: int = RIGHT
    """Pixels right of the plot: more of them where lines are labelled at their ends."""

    def at(self, x: float, y: float) -> str:
        return f"{self._x(x):.1f},{self._y(y):.1f}"

    def line(self, points: Sequence[Point], series: int, title: str = "") -> str:
        """A line; a pointer that rests on it reads `title`."""
        drawn = f'<polyline class="l {paint(series)}" points="{self._points(points)}"'
        return f"{drawn}>{title_mark(title)}</polyline>" if title else f"{drawn}/>"

    def steps(self, points: Sequence[Point], series: int, title: str = "") -> str:
        """A curve that keeps its height until the next point, as an ROC curve does."""
        corners: list[Point] = []
        for point in points:
            if corners:
                corners.append((point[0], corners[-1][1]))
            corners.append(point)
        return self.line(corners, series, title)

    def band(self, low: Sequence[Point], high: Sequence[Point], series: int) -> str:
        outline = self._points([*low, *reversed(high)])
        return f'<polygon class="a b {paint(series)}" points="{outline}"/>'

    def bars(self, edges: Sequence[float], heights: Sequence[float], series: int) -> str:
        """The outline of a histogram, filled."""
        outline: list[Point] = [(edges[0], self.y.lo)]
        for i, height in enumerate(heights):
            outline += [(edges[i], height), (edges[i + 1], height)]
        points = self._points([*outline, (edges[-1], self.y.lo)])
        return f'<polygon class="a o {paint(series)}" points="{points}"/>'

    def dot(self, x: float, y: float, series: int, title: str, shape: str = "circle") -> str:
        px, py = self._x(x), self._y(y)
        return f'<g class="p {paint(series)}">{title_mark(title)}{shape_mark(shape, px, py)}</g>'

    def reading(self, x: float, y: float, series: int, title: str) -> str:
        """A place on a curve where a pointer reads a value; nothing is seen before it is there."""
        place = f'cx="{self._x(x):.1f}" cy="{self._y(y):.1f}" r="{READING_PIXELS}"'
        look = f'fill="none" class="h {paint(series)}"'
        return f"<circle {look} {place}>{title_mark(title)}</circle>"

    def column(self, left: float, right: float, title: str) -> str:
        """The full height between two values of x, where a pointer reads a value."""
        x, bottom = self._x(left), self.height - BOTTOM
        size = f'width="{self._x(right) - x:.1f}" height="{bottom - TOP}"'
        return (
            f'<rect fill="none" class="h" x="{x:.1f}" y="{TOP}" {size}>{title_mark(title)}</rect>'
        )

    def end_labels(self, ends: Sequence[tuple[float, str, int]]) -> str:
        """Names right of the plot, each at the height (in data) where its line ends.

        Where lines end close to each other the names move apart and a thin line leads to each.
        """
        left = self.width - self.right
        wanted = [self._y(value) + 4 for value, _, _ in ends]
        marks = []
        for (value, text, series), y in zip(ends, spread(wanted, LABEL_GAP_PIXELS), strict=True):
            lead = f"M{left + 2},{self._y(value):.1f} L{left + 9},{y - 4:.1f}"
            marks.append(f'<path class="w {paint(series)}" d="{lead}"/>')
            marks.append(text_mark(left + 12, y, text, "k"))
        return "".join(marks)

    def point_labels(self, points: Sequence[tuple[float, float, str]]) -> str:
        """Names beside points (in data), moved up or down until none covers another or a point."""
        taken = [(self._x(x) - 6, self._y(y) - 6, 12.0, 12.0) for x, y, _ in points]
        marks = []
        for x, y, text in points:
            wide = len(text) * GLYPH_PIXELS * 0.9
            on_left = self._x(x) + 9 + wide > self.width
            left = self._x(x) - 9 - wide if on_left else self._x(x) + 9
            middle = self._y(y)
            for step in range(-1, 40):
                lower = middle + 6 * (step // 2 + 1) * (-1 if step % 2 else 1)
                box = (left, lower - 6, wide, 12.0)
                inside = TOP <= lower <= self.height - BOTTOM
                if inside and not any(overlap(box, other) for other in taken):
                    break
            taken.append(box)
            marks.append(text_mark(left, lower + 4, text, "k"))
            if abs(lower - middle) > 8:
                near = left + wide if on_left else left
                lead = f"M{self._x(x):.1f},{middle:.1f} L{near:.1f},{lower:.1f}"
                marks.append(f'<path class="f" d="{lead}"/>')
        return "".join(marks)

    def whisker(self, x: float, lo: float, hi: float, series: int) -> str:
        return f'<path class="w {paint(series)}" d="M{self.at(x, lo)} L{self.at(x, hi)}"/>'

    def rule(self, x: float | None = None, y: float | None = None) -> str:
        """A thin dashed line across the plot."""
        ends = (
            ((x, self.y.lo), (x, self.y.hi))
            if x is not None
            else ((self.x.lo, y or 0.0), (self.x.hi, y or 0.0))
        )
        return f'<polyline class="r" points="{self._points(ends)}"/>'

    def diagonal(self) -> str:
        """y = x, sampled because it bends on unequal scales."""
        lo, hi = max(self.x.lo, self.y.lo), min(self.x.hi, self.y.hi)
        return f'<polyline class="r" points="{self._points([(lo, lo), (hi, hi)])}"/>'

    def draw(self, title: str, marks: Iterable[str], keys: Sequence[Key] = ()) -> Markup:
        """The whole chart, with its legend below the plot."""
        body, height = self.body(title, marks, keys)
        return _chart(title, self.width, height, body)

    def body(self, title: str, marks: Iterable[str], keys: Sequence[Key] = ()) -> tuple[str, int]:
        """What `draw` puts into its chart, and its height: a part of a larger one."""
        rows = legend_rows(keys, self.width - LEFT - self.right)
        characters = TITLE_CHARACTERS * self.width // WIDTH
        titles = wrap(title, characters, max_lines=3, placeholder="...") or [""]
        lower = (len(titles) - 1) * LINE_PIXELS
        height = self.height + len(rows) * LINE_PIXELS + lower
        headings = [
            text_mark(LEFT - 46, 16 + i * LINE_PIXELS, line, "t") for i, line in enumerate(titles)
        ]
        plot = "".join([*self._grid(), *marks, *self._legend(rows)])
        return f'{"".join(headings)}<g transform="translate(0,{lower})">{plot}</g>', height

    def _grid(self) -> Iterable[str]:
        bottom, right = self.height - BOTTOM, self.width - self.right
        for tick in self.x.ticks:
            px = self._x(tick)
            yield f'<path class="g" d="M{px:.1f},{TOP} V{bottom}"/>'
            yield text_mark(px, bottom + 16, number(tick), "n m")
        for tick in self.y.ticks:
            py = self._y(tick)
            yield f'<path class="g" d="M{LEFT},{py:.1f} H{right}"/>'
            yield text_mark(LEFT - 6, py + 4, number(tick), "n e")
        yield f'<path class="f" d="M{LEFT},{TOP} V{bottom} H{right}"/>'
        yield text_mark((LEFT + right) / 2, bottom + 34, self.x.label, "n m")
        middle = (TOP + bottom) / 2
        yield (
            f'<text class="n m" transform="translate(12,{middle:.0f}) rotate(-90)">'
            f"{escape(self.y.label)}</text>"
        )

    def _legend(self, rows: Sequence[Sequence[tuple[float, Key]]]) -> Iterable[str]:
        for i, row in enumerate(rows):
            top = self.height + i * LINE_PIXELS + 6
            for offset, key in row:
                left = LEFT + offset
                yield swatch(key, left, top - 4)
                yield text_mark(left + 28, top, key.label, "k")

    def _points(self, points: Iterable[Point]) -> str:
        shown: list[str] = []
        for point in points:
            text = self.at(*point)
            if not shown or shown[-1] != text:
                shown.append(text)
        return " ".join(shown)

    def _x(self, value: float) -> float:
        return LEFT + self.x.share(value) * (self.width - LEFT - self.right)

    def _y(self, value: float) -> float:
        bottom = self.height - BOTTOM
        return bottom - self.y.share(value) * (bottom - TOP)


def panels(title: str, parts: Sequence[tuple[str, int]], width: int, columns: int) -> Markup:
    """Small charts of `width` pixels, each (body, height) of a `Plane.body`, under one title."""
    top = 26
    tall = max((height for _, height in parts), default=0)
    drawn = [text_mark(LEFT - 46, 16, title, "t")]
    for i, (body, _) in enumerate(parts):
        row, column = divmod(i, columns)
        at = f"{column * width},{top + row * tall}"
        drawn.append(f'<g transform="translate({at})">{body}</g>')
    rows = -(-len(parts) // columns)
    return _chart(
        title, width * min(columns, max(1, len(parts))), top + rows * tall, "".join(drawn)
    )


def _chart(title: str, width: int, height: int, body: str) -> Markup:
    return Markup(
        f'<svg class="chart" viewBox="0 0 {width} {height}" role="img" '
        f'aria-label="{escape(title)}" xmlns="http://www.w3.org/2000/svg">{body}</svg>'
    )
