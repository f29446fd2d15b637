"""The page says what was measured, marks what is out of range, and keeps what was not redone."""

from __future__ import annotations

from mia_bench.honesty.results_page import page


def covered(held: int) -> dict[str, float]:
    return {"sets": 1000, "held": held, "below": 1000 - held, "above": 0, "width": 0.1}


FIGURES = {
    "coverage": [
        {
            "members": 180,
            "nonmembers": 400,
            "shift": 1.5,
            "groups": "openmoji",
            "likeness": 0.7,
            "covered": {"auroc": covered(950), "asr": covered(925), "0.01": covered(905)},
        }
    ],
    "resplits": {"rows": 580, "splits": 1000, "held": 947},
    "nulls": {"runs": 200, "permutations": 199, "flagged": 7, "by_control": {"base": 4}},
    "runs": [
        {"seed": 0, "value": 0.5, "lo": 0.4, "hi": 0.6},
        {"seed": 1, "value": 0.62, "lo": 0.51, "hi": 0.7},
    ],
}


def test_every_figure_is_on_the_page_and_what_fails_is_marked() -> None:
    text = page(FIGURES)
    row = next(line for line in text.splitlines() if line.startswith("| 180 / 400"))
    # 0.925 is within two standard errors (0.008) of 0.93, 0.905 (0.009) is not
    assert row.split(" | ")[2:] == [
        "4",
        "0.8556",
        "0.950 (7)",
        "0.925 (8)",
        "n/a",
        "n/a",
        "**0.905 (9)** |",
    ]
    assert "**947 of 1,000** splits,\n94.7%" in text
    assert "**7 of 200** null runs, 3.5%: base 4." in text
    assert "**1 of 2** intervals hold 0.5" in text
    assert "AUC 0.500 to 0.620" in text
    assert "few_false_positives_tpr_" in page({})
