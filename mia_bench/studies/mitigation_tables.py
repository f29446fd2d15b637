"""Tables and figures of the mitigation study."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mia_bench.display.console import interval
from mia_bench.storage.files import write_json

ATTACKS = ("clid", "loss", "secmi", "pfami", "noise_agg")


Entry = Mapping[str, float | None]


@dataclass(frozen=True)
class Outcome:
    """One mitigation under one seed: attacks by name, and utility.json."""

    auroc: dict[str, Entry]
    tpr: dict[str, Entry]
    change: dict[str, Entry]
    """AUC minus the AUC without mitigation, paired on the same rows."""
    utility: dict[str, Any]
    base: dict[str, Any]
    about: dict[str, Any]
    """Steps trained, the step chosen, and epsilon, as the target's manifest says."""


def report(study: Mapping[str, Mapping[int, Outcome]], folder: Path, arguments: str = "") -> Path:
    """Write mitigations.md, .json, .png and .svg into `folder`; the path of the first.

    Args:
        study: outcomes by mitigation and seed.
        arguments: of the command that made them, for the first line.
    """
    folder.mkdir(parents=True, exist_ok=True)
    by_name = {name: {str(s): vars(o) for s, o in rows.items()} for name, rows in study.items()}
    write_json(folder / "mitigations.json", by_name)
    draw(study, folder)
    command = f"mia-bench mitigations {arguments}".strip()
    parts = [
        f"`{command}`, seeds {', '.join(map(str, next(iter(study.values()))))}.",
        "",
        *privacy_table(study),
        "",
        *utility_table(study),
        "",
    ]
    path = folder / "mitigations.md"
    path.write_text("\n".join(parts), encoding="utf-8")
    return path


def privacy_table(study: Mapping[str, Mapping[int, Outcome]]) -> list[str]:
    """One line per attack and mitigation: AUC per seed, mean and spread, change, TPR."""
    seeds = list(next(iter(study.values())))
    head = [
        *("attack", "mitigation"),
        *(f"AUC, seed {s}" for s in seeds),
        *("AUC, mean (sd)", "change per seed", "TPR@1%FPR, mean (sd)"),
    ]
    lines = _head(head)
    for attack in (*ATTACKS, "drc"):
        for name, rows in study.items():
            outcomes = [rows[s] for s in seeds if attack in rows[s].auroc]
            if outcomes:
                changes = [interval(o.change[attack]) for o in outcomes if attack in o.change]
                lines.append(
                    _line(
                        attack,
                        name,
                        *(interval(o.auroc[attack]) for o in outcomes),
                        spread([o.auroc[attack]["value"] for o in outcomes]),
                        "; ".join(changes) or "-",
                        spread([o.tpr[attack]["value"] for o in outcomes]),
                    )
                )
    return lines


def utility_table(study: Mapping[str, Mapping[int, Outcome]]) -> list[str]:
    """One line per mitigation and one for the untouched base: means over seeds, spread."""
    fields = ("heldout_loss", "heldout_loss_null", "member_loss", "frechet", "fid", "clip_score")
    measured = [
        f
        for f in fields
        if all(o.utility[f] is not None for r in study.values() for o in r.values())
    ]
    lines = _head(["mitigation", *measured, "steps attacked", "epsilon"])
    first = next(iter(study.values())).values()
    lines.append(
        _line("(base)", *(spread([o.base[f] for o in first], 4) for f in measured), "0", "-")
    )
    for name, rows in study.items():
        outcomes = list(rows.values())
        epsilon = [o.about["privacy"]["epsilon"] for o in outcomes if o.about["privacy"]]
        steps = [str(o.about["chosen_step"] or o.about["steps"]) for o in outcomes]
        lines.append(
            _line(
                name,
                *(spread([o.utility[f] for o in outcomes], 4) for f in measured),
                ", ".join(steps),
                spread(epsilon, 2) if epsilon else "-",
            )
        )
    return lines


def spread(values: Sequence[float | None], digits: int = 3) -> str:
    """'0.836 (0.021)': mean and standard deviation over seeds; n/a where a value is missing."""
    if any(v is None for v in values):
        return "n/a"
    numbers = np.array(values, dtype=np.float64)
    sd = f" ({numbers.std(ddof=1):.{digits}f})" if len(numbers) > 1 else ""
    return f"{numbers.mean():.{digits}f}{sd}"


def _head(cells: Sequence[str]) -> list[str]:
    return [_line(*cells), "|" + "---|" * len(cells)]


def _line(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def draw(study: Mapping[str, Mapping[int, Outcome]], folder: Path) -> Path:
    """AUC against held-out loss and against the Fréchet distance, one point per seed and attack."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt
    from matplotlib.lines import Line2D

    figure, axes = plt.subplots(1, 2, figsize=(10.5, 4.8), sharey=True, layout="constrained")
    markers = dict(zip((*ATTACKS, "drc"), "os^Dv*", strict=True))
    colours = dict(zip(study, plt.get_cmap("tab10").colors, strict=False))
    panels = (("heldout_loss", "held-out denoising loss"), ("frechet", "Fréchet distance"))
    for panel, (field, label) in zip(axes, panels, strict=True):
        for name, rows in study.items():
            for outcome in rows.values():
                for attack, entry in outcome.auroc.items():
                    panel.errorbar(
                        outcome.utility[field],
                        entry["value"],
                        yerr=_arms(entry),
                        marker=markers[attack],
                        color=colours[name],
                        alpha=0.7,
                        markersize=5,
                        elinewidth=0.6,
                    )
        panel.axhline(0.5, color="grey", linestyle=":", linewidth=1)
        bases = [o.base[field] for o in next(iter(study.values())).values()]
        panel.axvline(np.mean(bases), color="grey", linestyle="--", linewidth=1)
        panel.set_xlabel(f"{label} (left is better; dashed: the base)")
    axes[0].set_ylabel("AUC of the attack")
    handles = [Line2D([], [], color=c, marker="o", ls="", label=n) for n, c in colours.items()]
    handles += [
        Line2D([], [], color="black", marker=m, ls="", label=a)
        for a, m in markers.items()
        if any(a in o.auroc for rows in study.values() for o in rows.values())
    ]
    axes[1].legend(handles=handles, fontsize=8, loc="center left", bbox_to_anchor=(1.0, 0.5))
    for ending in ("svg", "png"):
        figure.savefig(folder / f"mitigations.{ending}", dpi=130)
    plt.close(figure)
    return folder / "mitigations.png"


def _arms(entry: Entry) -> list[list[float]] | None:
    value, lo, hi = entry["value"], entry["lo"], entry["hi"]
    if value is None or lo is None or hi is None:
        return None
    return [[max(0.0, value - lo)], [max(0.0, hi - value)]]
