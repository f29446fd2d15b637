"""Colours and dashes of series, as classes that a page or a file of its own gives a look."""

from __future__ import annotations

from markupsafe import Markup

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#aa4499", "#b07a00", "#222222", "#7d7d7d")
"""After Okabe and Ito; without their yellow and second blue, which white paper swallows."""
DASHES = (
    *("", "6 3", "2 3", "8 3 2 3", "1 2", "12 3", "12 3 2 3", "1 5", "8 3 2 3 2 3"),
    *("16 4", "4 2 1 2 1 2"),
)
SHAPES = ("circle", "square", "diamond", "up", "down", "cross")


def paint(series: int) -> str:
    """Classes of a series: its colour, and another dash once the colours are used up."""
    dash = series // len(COLOURS) % len(DASHES)
    return f"s{series % len(COLOURS)}" + (f" d{dash}" if dash else "")


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
    ".b{fill-opacity:.1}.o{stroke-width:1.2}.h{fill:none;pointer-events:all}"
)
