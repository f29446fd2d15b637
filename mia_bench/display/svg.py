"""Small charts as SVG text: axes, steps, bands, points, bars.

Hand-made, and not by a chart library that draws in the browser (Vega-Lite, Plotly, Observable
Plot), because the page must say everything without JavaScript, on paper, in a mail and in a file of
its own: those draw nothing until their script ran. Each would add between half a megabyte and four
to a page that has a tenth of one, and Vega compiles its expressions, which the page's content
policy forbids for the sake of the captions on it. Here a page of a thousand runs is drawn in
seconds, follows the reader's light or dark scheme, and stays readable at the width of a phone.
Marks carry classes only: the page gives them colours, and `standalone` adds a style sheet for a
file of its own. Every text is escaped.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from textwrap import wrap

from markupsafe import Markup, escape

WIDTH, HEIGHT = 460, 320
LEFT, RIGHT, TOP, BOTTOM = 60, 22, 30, 44
LINE_PIXELS = 18
TITLE_CHARACTERS = 60  # characters of a title that fit on one line
LABEL_GAP_PIXELS = 13  # between the baselines of two labels
GLYPH_PIXELS = 7.2  # mean width of a character of the legend, in pixels
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#aa4499", "#b07a00", "#222222", "#7d7d7d")
"""After Okabe and Ito; without their yellow and second blue, which white paper swallows."""
DASHES = (
    *("", "6 3", "2 3", "8 3 2 3", "1 2", "12 3", "12 3 2 3", "1 5", "8 3 2 3 2 3"),
    *("16 4", "4 2 1 2 1 2"),
)
SHAPES = ("circle", "square", "diamond", "up", "down", "cross")

Point = tuple[float, float]


@dataclass(frozen=True)
class Axis:
    """One direction: its range, its scale, its label, and where its ticks are."""

    lo: float
    hi: float
    label: str
    ticks: tuple[float, ...]
    log: bool = False

    def share(self, value: float) -> float:
        """0 at the lower end, 1 at the upper one; values outside are drawn at the edge."""
        lo, hi, v = self.lo, self.hi, min(max(value, self.lo), self.hi)
        if self.log:
            lo, hi, v = math.log10(lo), math.log10(hi), math.log10(v)
        return (v - lo) / (hi - lo)


def linear(lo: float, hi: float, label: str) -> Axis:
    """A linear axis over [lo, hi] with about five round ticks; an empty range is widened."""
    if not hi > lo:
        lo, hi = lo - 0.5, hi + 0.5
    raw = (hi - lo) / 5
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(m * power for m in (1, 2, 2.5, 5, 10) if m * power >= raw * 0.999)
    first = math.ceil(lo / step - 1e-9)
    ticks = [i * step for i in range(first, math.floor(hi / step + 1e-9) + 1)]
    return Axis(lo, hi, label, tuple(ticks))


def padded(values: Iterable[float], label: str, share: float = 0.06) -> Axis:
    """A linear axis with some air around the values."""
    finite = list(values)
    lo, hi = min(finite), max(finite)
    room = (hi - lo) * share or max(abs(hi) * share, 1e-3)
    return linear(lo - room, hi + room, label)


def decades(lo: float, hi: float, label: str) -> Axis:
    """A logarithmic axis that ends at powers of ten around lo and hi, both positive."""
    first, last = math.floor(math.log10(lo) + 1e-9), math.ceil(math.log10(hi) - 1e-9)
    last = max(last, first + 1)
    ticks = tuple(10.0**p for p in range(first, last + 1))
    return Axis(10.0**first, 10.0**last, label, ticks, log=True)


@dataclass(frozen=True)
class Key:
    """One entry of a legend."""

    label: str
    series: int
    kind: str = "line"  # or "dot", "box", a shape


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

    def line(self, points: Sequence[Point], series: int) -> str:
        return f'<polyline class="l {paint(series)}" points="{self._points(points)}"/>'

    def steps(self, points: Sequence[Point], series: int) -> str:
        """A curve that keeps its height until the next point, as an ROC curve does."""
        corners: list[Point] = []
        for point in points:
            if corners:
                corners.append((point[0], corners[-1][1]))
            corners.append(point)
        return self.line(corners, series)

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
        return f'<g class="p {paint(series)}">{_title(title)}{_shape(shape, px, py)}</g>'

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
            marks.append(_text(left + 12, y, text, "k"))
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
                if inside and not any(_overlap(box, other) for other in taken):
                    break
            taken.append(box)
            marks.append(_text(left, lower + 4, text, "k"))
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
        rows = _flow(keys, self.width - LEFT - self.right)
        characters = TITLE_CHARACTERS * self.width // WIDTH
        titles = wrap(title, characters, max_lines=3, placeholder="...") or [""]
        lower = (len(titles) - 1) * LINE_PIXELS
        height = self.height + len(rows) * LINE_PIXELS + lower
        headings = [
            _text(LEFT - 46, 16 + i * LINE_PIXELS, line, "t") for i, line in enumerate(titles)
        ]
        plot = "".join([*self._grid(), *marks, *self._legend(rows)])
        return f'{"".join(headings)}<g transform="translate(0,{lower})">{plot}</g>', height

    def _grid(self) -> Iterable[str]:
        bottom, right = self.height - BOTTOM, self.width - self.right
        for tick in self.x.ticks:
            px = self._x(tick)
            yield f'<path class="g" d="M{px:.1f},{TOP} V{bottom}"/>'
            yield _text(px, bottom + 16, number(tick), "n m")
        for tick in self.y.ticks:
            py = self._y(tick)
            yield f'<path class="g" d="M{LEFT},{py:.1f} H{right}"/>'
            yield _text(LEFT - 6, py + 4, number(tick), "n e")
        yield f'<path class="f" d="M{LEFT},{TOP} V{bottom} H{right}"/>'
        yield _text((LEFT + right) / 2, bottom + 34, self.x.label, "n m")
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
                yield _swatch(key, left, top - 4)
                yield _text(left + 28, top, key.label, "k")

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
    drawn = [_text(LEFT - 46, 16, title, "t")]
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


def spread(wanted: Sequence[float], gap: float) -> list[float]:
    """Positions in the order of `wanted`, at least `gap` apart and as near to it as can be."""
    order = sorted(range(len(wanted)), key=lambda i: wanted[i])
    groups: list[tuple[float, list[int]]] = []  # (middle, members), which are `gap` apart
    for i in order:
        middle, members = wanted[i], [i]
        while groups and middle - groups[-1][0] < gap * (len(members) + len(groups[-1][1])) / 2:
            members = [*groups.pop()[1], *members]
            middle = sum(wanted[j] for j in members) / len(members)
        groups.append((middle, members))
    placed = [0.0] * len(wanted)
    for middle, members in groups:
        for n, i in enumerate(members):
            placed[i] = middle + gap * (n - (len(members) - 1) / 2)
    return placed


Box = tuple[float, float, float, float]


def _overlap(a: Box, b: Box) -> bool:
    """Whether two boxes (left, top, width, height) share a point."""
    apart_x = a[0] + a[2] <= b[0] or b[0] + b[2] <= a[0]
    return not (apart_x or a[1] + a[3] <= b[1] or b[1] + b[3] <= a[1])


def paint(series: int) -> str:
    """Classes of a series: its colour, and another dash once the colours are used up."""
    dash = series // len(COLOURS) % len(DASHES)
    return f"s{series % len(COLOURS)}" + (f" d{dash}" if dash else "")


def number(value: float) -> str:
    """A tick as people write it."""
    if value == 0:
        return "0"
    if abs(value) >= 1e5 or abs(value) < 1e-3:
        return f"{value:.0e}".replace("e-0", "e-").replace("e+0", "e")
    return f"{value:.4g}"


def dash_rules() -> list[str]:
    """The style of each of DASHES by its class, for a file of its own and for a page alike."""
    return [f".d{i} {{ stroke-dasharray: {dash}; }}" for i, dash in enumerate(DASHES) if dash]


def standalone(chart: Markup) -> str:
    """The chart as a file of its own: dark on white, colours in plain CSS that converters read."""
    opening, body = str(chart).split(">", 1)
    size = opening.split('viewBox="0 0 ', 1)[1].split('"', 1)[0].split()
    rules = [f".s{i}{{color:{colour}}}" for i, colour in enumerate(COLOURS)]
    rules += [f".l.s{i}{{stroke:{colour}}}" for i, colour in enumerate(COLOURS)]
    rules += [f".w.s{i},.o.s{i}{{stroke:{colour}}}" for i, colour in enumerate(COLOURS)]
    rules += [f".a.s{i},.p.s{i}{{fill:{colour}}}" for i, colour in enumerate(COLOURS)]
    rules += dash_rules()
    paper = '<rect width="100%" height="100%" fill="#fff"/>'
    sized = f'{opening} width="{size[0]}" height="{size[1]}">'
    return f"{sized}<style>{PLAIN}{''.join(rules)}</style>{paper}{body}\n"


PLAIN = (
    "text{font-family:Helvetica,Arial,sans-serif;fill:#222}"
    ".t{font-size:13px;font-weight:bold}.n{font-size:11.5px}.k{font-size:12px}"
    ".m{text-anchor:middle}.e{text-anchor:end}"
    ".g{stroke:#ddd;fill:none}.f{stroke:#888;fill:none}"
    ".r{stroke:#888;stroke-dasharray:2 3;fill:none}"
    ".l{fill:none;stroke-width:1.8}.w{stroke-width:1.4;fill:none}.a{fill-opacity:.22}"
    ".b{fill-opacity:.1}.o{stroke-width:1.2}"
)


def _text(x: float, y: float, text: str, kind: str) -> str:
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}">{escape(text)}</text>'


def _title(text: str) -> str:
    return f"<title>{escape(text)}</title>"


def _shape(shape: str, x: float, y: float, r: float = 4.5) -> str:
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


def _swatch(key: Key, left: float, y: float) -> str:
    if key.kind == "line":
        return f'<path class="l {paint(key.series)}" d="M{left:.1f},{y:.1f} h22"/>'
    if key.kind == "box":
        box = f'x="{left + 4:.1f}" y="{y - 5:.1f}" width="16" height="10"'
        return f'<rect class="a o {paint(key.series)}" {box}/>'
    return f'<g class="p {paint(key.series)}">{_shape(key.kind, left + 12, y)}</g>'


def _flow(keys: Sequence[Key], width: float) -> list[list[tuple[float, Key]]]:
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
