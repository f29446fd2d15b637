"""One colour, dash and marker for each attack, in every figure, of a page, a run or a study alike.

Those most often shown together come first and have colours of their own; with seven colours, eleven
dashes and six markers, what shares a colour differs by the other two.
"""

from __future__ import annotations

import zlib

from mia_bench.display.svg.style import COLOURS, DASHES, SHAPES

FIRST = (
    *("clid", "loss", "secmi", "pia", "sima", "drc", "noise_agg", "mc", "pfami", "rediffuse"),
    *("gsa", "gradient_masking", "ensemble", "clid_vec", "pian", "secmi_nns", "gsa2", "mc15"),
    *("loss5", "clid_importance", "clid_gaussian", "clid_null", "pfami_paired", "pfami_nns"),
    *("noise_agg_null", "noise_agg_ii", "noise_agg_iii", "drc_mse", "drc_cheap", "drc_full"),
    *("drc_tasks", "drc_face", "secmi100", "mc_full", "noise_agg_size", "noise_agg_relative"),
    *("noise_agg_tuned", "drc_hole", "drc_whole", "drc_spread", "rf_mc", "rf_mc_cal", "rf_curve"),
    *("fremia", "fremia_tuned", "pia_f", "secmi_f", "clid_f", "mc_bias", "mc15_bias", "mismatch"),
    "drc_attention",
    *("sima_pullback", "sima_randommask", "loss_pullback", "loss_randommask", "pia_pullback"),
    *("pia_randommask", "secmi_pullback", "secmi_randommask", "structural", "noise_probe"),
    *("gen_sim", "gen_sim_views", "gen_sim_vec", "img2img", "img2img_vec", "mofit_lite"),
)
OTHERS = 97  # numbers that attacks without a place of their own are spread over
MATPLOTLIB_MARKERS = ("o", "s", "D", "^", "v", "P")


def series_number(attack: str) -> int:
    """The number that decides how an attack is drawn; the same in every figure and on every day."""
    if attack in FIRST:
        return FIRST.index(attack)
    return len(FIRST) + zlib.crc32(attack.encode()) % OTHERS


def marker_shape(series: int) -> str:
    """One of SHAPES, by the series' number."""
    return SHAPES[series % len(SHAPES)]


def matplotlib_style(attack: str) -> dict[str, object]:
    """Colour, line style and marker of an attack, as matplotlib's `plot` takes them."""
    number = series_number(attack)
    dash = DASHES[number // len(COLOURS) % len(DASHES)]
    return {
        "color": COLOURS[number % len(COLOURS)],
        "linestyle": (0, tuple(map(float, dash.split()))) if dash else "-",
        "marker": MATPLOTLIB_MARKERS[number % len(MATPLOTLIB_MARKERS)],
    }
