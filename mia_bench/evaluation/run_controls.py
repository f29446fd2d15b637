"""The controls of a whole run, judged together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

Results = Sequence[tuple[str, Mapping[str, Any], Path]]


def base_name(attack: str) -> str:
    """What the base row of an attack is called among the controls of a run."""
    return f"{attack} on the base"


def judged(results: Results) -> dict[str, Any]:
    """The controls of the whole run together: their p-values, and which are flagged (Holm, 5 %).

    `alone` are those that the attack's own metrics flag, among its own controls, and the run does
    not: a larger family asks more of each of its members.
    """
    from mia_bench.metrics.permutation import (  # loads torch, which `status` does without
        CONTROL_LEVEL,
        holm,
    )

    names = {
        (attack, name): base_name(attack) if name == "base" else name
        for attack, metrics, _ in results
        for name in metrics["controls"]
    }
    by_attack = {attack: metrics for attack, metrics, _ in results}
    p_values = {
        said: by_attack[attack]["controls"][name]["p_value"]
        for (attack, name), said in names.items()
    }
    flagged = holm(p_values)
    alone = {
        said
        for (attack, name), said in names.items()
        if f"control_{name}" in by_attack[attack].get("flags", ()) and said not in flagged
    }
    return {
        "level": CONTROL_LEVEL,
        "p_values": p_values,
        "flagged": flagged,
        "alone": sorted(alone),
    }
