"""One look for an attack, wherever it is drawn."""

from __future__ import annotations

from mia_bench.config.compose import conf_dir
from mia_bench.display.attack_style import FIRST, marker_shape, matplotlib_style, series_number
from mia_bench.display.svg.style import COLOURS, DASHES, paint


def test_every_attack_of_the_package_has_a_place() -> None:
    named = {path.stem for path in (conf_dir() / "attack").glob("*.yaml")} - {"all"}
    assert named <= set(FIRST)
    assert len(set(FIRST)) == len(FIRST)


def test_no_two_attacks_of_the_package_look_alike() -> None:
    looks = {(paint(series_number(name)), marker_shape(series_number(name))) for name in FIRST}
    assert len(looks) == len(FIRST)
    assert len(FIRST) <= len(COLOURS) * len(DASHES)


def test_an_attack_of_others_keeps_its_number() -> None:
    # a hash of the name that is the same in every process, behind the package's own
    assert series_number("mine") == len(FIRST) + 92


def test_matplotlib_draws_the_same_colour() -> None:
    assert matplotlib_style("clid")["color"] == COLOURS[series_number("clid")]
    assert matplotlib_style("clid")["linestyle"] == "-"
    assert matplotlib_style("mc")["linestyle"] == (0, (6.0, 3.0))
