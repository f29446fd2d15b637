"""Tables and figures of the mitigation study."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from mia_bench.display.console import interval
from mia_bench.storage.files import write_json
from mia_bench.studies.mitigation_outcome import ATTACKS, Entry, Outcome
from mia_bench.studies.mitigation_plot import draw


def report(study: Mapping[str, Mapping[int, Outcome]], folder: Path, arguments: str = "") -> Path:
    """Write mitigations.md, .json, .png and .svg into `folder`; the path of the first.

    Args:
        study: outcomes by mitigation and seed.
        arguments: of the command that made them, for the first line.
    """
    folder.mkdir(parents=True, exist_ok=True)
    by_name = {name: {str(s): vars(o) for s, o in rows.items()} for name, rows in study.items()}
    write_json(folder / "mitigations.json", by_name)
    draw(study, (*ATTACKS, "drc"), folder)
    command = f"mia-bench mitigations {arguments}".strip()
    parts = [
        f"`{command}`, seeds {', '.join(map(str, next(iter(study.values()))))}.",
        "",
        *overview_table(study),
        "",
        *privacy_table(study),
        "",
        *utility_table(study),
        "",
    ]
    path = folder / "mitigations.md"
    path.write_text("\n".join(parts), encoding="utf-8")
    return path


def overview_table(study: Mapping[str, Mapping[int, Outcome]]) -> list[str]:
    """One line per mitigation, one column per attack: AUC, mean over seeds.

    Of an attacker whose shadow is trained with the mitigation and, behind a slash, of one whose
    shadow is not, where that differs. The last columns have what the model is still good for.
    """
    outcomes = {name: list(rows.values()) for name, rows in study.items()}
    attacks = [
        a for a in (*ATTACKS, "drc") if any(a in o.auroc for r in outcomes.values() for o in r)
    ]
    lines = table_head(["mitigation", *attacks, "held-out loss", "frechet"])
    for name, of_seeds in outcomes.items():
        aucs = [_adaptive_and_ignorant(attack, of_seeds) for attack in attacks]
        utility = [_mean([o.utility[f] for o in of_seeds], 4) for f in ("heldout_loss", "frechet")]
        lines.append(table_line(name, *aucs, *utility))
    return lines


def _adaptive_and_ignorant(attack: str, outcomes: Sequence[Outcome]) -> str:
    means = [
        _mean([entry[attack]["value"] for entry in entries if attack in entry])
        for entries in ([o.auroc for o in outcomes], [o.ignorant for o in outcomes])
    ]
    return means[0] if means[1] in ("-", means[0]) else " / ".join(means)


def _mean(values: Sequence[float | None], digits: int = 3) -> str:
    return spread(values, digits).partition(" ")[0] if values else "-"


def privacy_table(study: Mapping[str, Mapping[int, Outcome]]) -> list[str]:
    """One line per attack and mitigation: AUC per seed, mean and spread, change, TPR."""
    seeds = list(next(iter(study.values())))
    head = [
        *("attack", "mitigation"),
        *(f"AUC, seed {s}" for s in seeds),
        *("AUC, mean (sd)", "change per seed", "TPR@1%FPR, mean (sd)"),
        *("ignorant: AUC", "ignorant - adaptive per seed", "ASR, adaptive", "ASR, ignorant"),
    ]
    lines = table_head(head)
    for attack in (*ATTACKS, "drc"):
        for name, rows in study.items():
            outcomes = [rows[s] for s in seeds if attack in rows[s].auroc]
            if outcomes:
                changes = [interval(o.change[attack]) for o in outcomes if attack in o.change]
                lines.append(
                    table_line(
                        attack,
                        name,
                        *(interval(o.auroc[attack]) for o in outcomes),
                        spread([o.auroc[attack]["value"] for o in outcomes]),
                        "; ".join(changes) or "-",
                        spread([o.tpr[attack]["value"] for o in outcomes]),
                        *_ignorance(attack, outcomes),
                    )
                )
    return lines


def _ignorance(attack: str, outcomes: Sequence[Outcome]) -> list[str]:
    """How the attacker without the mitigation in the shadow fares; '-' where there is none."""
    lost = [interval(o.ignorance[attack]) for o in outcomes if attack in o.ignorance]
    return [
        _values(attack, [o.ignorant for o in outcomes]),
        "; ".join(lost) or "-",
        _values(attack, [o.asr for o in outcomes]),
        _values(attack, [o.ignorant_asr for o in outcomes]),
    ]


def _values(attack: str, entries: Sequence[Mapping[str, Entry]]) -> str:
    values = [entry[attack]["value"] for entry in entries if attack in entry]
    return spread(values) if values else "-"


def utility_table(study: Mapping[str, Mapping[int, Outcome]]) -> list[str]:
    """One line per mitigation and one for the untouched base: means over seeds, spread.

    `held-out loss - none` is paired by seed, where there is a run without mitigation.
    """
    fields = ("heldout_loss", "heldout_loss_null", "member_loss", "frechet", "fid", "clip_score")
    measured = [
        f
        for f in fields
        if all(o.utility[f] is not None for r in study.values() for o in r.values())
    ]
    head = [*measured, "held-out loss - none", "steps attacked", "epsilon", "left out"]
    lines = table_head(["mitigation", *head])
    first = next(iter(study.values())).values()
    lines.append(
        table_line(
            *("(base)", *(spread([o.base[f] for o in first], 4) for f in measured)),
            *("-", "0", "-", "-"),
        )
    )
    for name, rows in study.items():
        outcomes = list(rows.values())
        epsilon = [o.about["privacy"]["epsilon"] for o in outcomes if o.about["privacy"]]
        steps = [str(o.about["chosen_step"] or o.about["steps"]) for o in outcomes]
        lines.append(
            table_line(
                name,
                *(spread([o.utility[f] for o in outcomes], 4) for f in measured),
                _loss_change(rows, study.get("none", {})) if name != "none" else "-",
                ", ".join(steps),
                spread(epsilon, 2) if epsilon else "-",
                left_out(outcomes),
            )
        )
    return lines


def _loss_change(rows: Mapping[int, Outcome], none: Mapping[int, Outcome]) -> str:
    pairs = [(rows[s], none[s]) for s in rows if s in none]
    changes = [a.utility["heldout_loss"] - b.utility["heldout_loss"] for a, b in pairs]
    return spread(changes, 4) if changes else "-"


def left_out(outcomes: Sequence[Outcome]) -> str:
    """What a defence kept from training or from the weights, as shares; '-' for nothing."""
    dropped = [o.about["dropped_rows"]["share"] for o in outcomes if o.about.get("dropped_rows")]
    kept = [o.about["update_kept"] for o in outcomes if o.about.get("update_kept") is not None]
    if dropped:
        return f"{spread(dropped)} of rows"
    return f"{spread([1 - share for share in kept])} of the update" if kept else "-"


def spread(values: Sequence[float | None], digits: int = 3) -> str:
    """'0.836 (0.021)': mean and standard deviation over seeds; n/a where a value is missing."""
    if any(v is None for v in values):
        return "n/a"
    numbers = np.array(values, dtype=np.float64)
    sd = f" ({numbers.std(ddof=1):.{digits}f})" if len(numbers) > 1 else ""
    return f"{numbers.mean():.{digits}f}{sd}"


def table_head(cells: Sequence[str]) -> list[str]:
    return [table_line(*cells), "|" + "---|" * len(cells)]


def table_line(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"
