"""Tables over seeds: what stands in which column, and what is not there."""

from __future__ import annotations

from mia_bench.studies.seed_tables import markdown, mean_of

Entry = dict[str, float | None]


def entry(value: float | None) -> Entry:
    if value is None:
        return {"value": None, "lo": None, "hi": None}
    return {"value": value, "lo": value - 0.05, "hi": value + 0.05}


STUDY = {
    0: {
        "clid": entry(0.8),
        "clid-complexity": entry(0.7),
        "loss": entry(0.6),
        "clid on the base": entry(0.5),
        "clid - loss": entry(0.2),
    },
    1: {
        "clid": entry(0.9),
        "clid-complexity": entry(0.8),
        "clid on the base": entry(0.52),
        "clid - loss": entry(0.3),
    },
}


def test_attacks_variants_differences_and_controls_have_their_places():
    lines = markdown(STUDY, "mia-bench seeds 0 1").splitlines()
    assert lines[0].startswith("`mia-bench seeds 0 1`.")
    assert "| attack | seed 0 | seed 1 | mean (sd) | -complexity, mean (sd) |" in lines
    assert (
        "| clid | 0.800 [0.75, 0.85] | 0.900 [0.85, 0.95] | 0.850 (0.071) | 0.750 (0.071) |"
        in lines
    )
    assert "| loss | 0.600 [0.55, 0.65] | - | 0.600 | - |" in lines
    assert "| clid - loss | 0.200 [0.15, 0.25] | 0.300 [0.25, 0.35] | 0.250 (0.071) |" in lines
    assert any(line.startswith("| clid on the base | 0.500") for line in lines)
    assert not any(line.startswith("| clid-complexity") for line in lines)


def test_what_was_not_computed_is_left_out_of_the_mean():
    assert mean_of({0: {"a": entry(None)}, 1: {"a": entry(0.5)}}, "a") == "0.500"
    assert mean_of({0: {"a": entry(None)}}, "a") == "n/a"
    assert mean_of(STUDY, "pia") == "-"
