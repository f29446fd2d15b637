"""The verdict on controls that share their evaluation rows: one test, and one sentence."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mia_bench.metrics.permutation import CONTROL_LEVEL, holm
from mia_bench.planning.specs import BASE, REFERENCE

Results = Sequence[tuple[str, Mapping[str, Any], Path]]
"""Attack, metrics and folder of every run of a plan."""
MODEL_CONTROLS = {BASE: "base", REFERENCE: "reference model"}
"""Controls that are the attack itself, on the model that each of them names."""
SAME_FIGURE_DIGITS = 9


@dataclass(frozen=True)
class Control:
    """One control: a blind baseline, or an attack on a model that saw no evaluation row: the base,
    before fine-tuning, or a reference.

    `lo` and `hi` are None for blind baselines. `flagged`: it tells members from non-members, by
    Holm's test over all controls of the same rows.
    """

    kind: str
    attack: str
    auroc: float
    lo: float | None
    hi: float | None
    p_value: float
    flagged: bool = False

    @property
    def stored_name(self) -> str:
        """The name in controls-*.json."""
        where = MODEL_CONTROLS.get(self.kind)
        return self.kind if where is None else f"{self.attack} on the {where}"

    @property
    def label(self) -> str:
        return f"{self.attack} {self.kind} control" if self.kind in MODEL_CONTROLS else self.kind


@dataclass(frozen=True)
class ControlVerdict:
    """The controls of some evaluation rows, judged together.

    `flagged_alone`: those that are flagged among the controls of their own attack, and not here:
    the more controls there are, the smaller the p-value that each of them needs.
    """

    controls: tuple[Control, ...]
    flagged_alone: tuple[Control, ...] = ()

    @property
    def flagged(self) -> list[str]:
        """Labels of the flagged controls, the smallest p-value first."""
        return [control.label for control in self._flagged]

    @property
    def sentence(self) -> str:
        """The verdict in words."""
        if not self.controls:
            return "No controls were run."
        alone = ", ".join(control.label for control in self.flagged_alone)
        alone = f" Flagged only among the controls of its own attack: {alone}." if alone else ""
        if not self.flagged:
            none_of = f"none of {len(self.controls)} tells members from non-members"
            return f"Controls: {none_of} (Holm, {100 * CONTROL_LEVEL:g} %).{alone}"
        verb = "tells" if len(self.flagged) == 1 else "tell"
        return (
            f"{', '.join(self.flagged)} {verb} members from non-members without the fine-tuning: "
            "the split is not random, or the base model knew the members. Do not trust results on "
            f"these images.{alone}"
        )

    def to_json(self) -> dict[str, Any]:
        """As reports/<target>/controls-*.json holds it."""
        return {
            "level": CONTROL_LEVEL,
            "p_values": {control.stored_name: control.p_value for control in self.controls},
            "flagged": [control.stored_name for control in self._flagged],
            "alone": sorted(control.stored_name for control in self.flagged_alone),
        }

    @property
    def _flagged(self) -> list[Control]:
        flagged = (control for control in self.controls if control.flagged)
        return sorted(flagged, key=lambda control: control.p_value)


def judge_controls(runs: Iterable[tuple[str, Mapping[str, Any]]]) -> ControlVerdict:
    """Holm's test over the controls of some runs (attack, metrics) on the same evaluation rows.

    A control that several runs share, with the same figures, counts once.
    """
    controls: dict[tuple[Any, ...], Control] = {}
    flagged_by_attack: set[tuple[Any, ...]] = set()
    for attack, metrics in runs:
        for kind, entry in metrics["controls"].items():
            control = _control(attack, kind, entry)
            figures = (control.auroc, control.p_value)
            same = (control.label, *(round(figure, SAME_FIGURE_DIGITS) for figure in figures))
            controls[same] = control
            if f"control_{kind}" in metrics.get("flags", ()):
                flagged_by_attack.add(same)
    # by position: two models of one report may have base controls of the same name
    p_values = {str(i): control.p_value for i, control in enumerate(controls.values())}
    flagged = set(holm(p_values))
    judged = {
        same: replace(control, flagged=str(i) in flagged)
        for i, (same, control) in enumerate(controls.items())
    }
    alone = [c for same, c in judged.items() if same in flagged_by_attack and not c.flagged]
    return ControlVerdict(tuple(judged.values()), tuple(alone))


def _control(attack: str, kind: str, entry: Mapping[str, Any]) -> Control:
    """From an entry of metrics.json; blind baselines have an AUROC without an interval."""
    auroc = entry["auroc"]
    bounds = auroc if isinstance(auroc, Mapping) else {"value": auroc}
    return Control(
        *(kind, attack, bounds["value"], bounds.get("lo"), bounds.get("hi"), entry["p_value"])
    )
