"""`python -m mia_bench.mitigation_study [0 1 2]`: what each defence buys, and what it costs.

Every mitigation under every attack, over seeds; whatever is finished is reused, so a killed study
goes on where it was. Tables and figure go to outputs/reports/mitigations/, as Markdown and JSON.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mia_bench.arguments import command
from mia_bench.plain import say
from mia_bench.seeds import difference
from mia_bench.store import read_json, write_json
from mia_bench.table import interval

MITIGATIONS = ("none", "augment", "early_stop", "lora", "dp")
ATTACKS = ("clid", "loss", "secmi", "pfami", "noise_agg")
RECONSTRUCTED = ("none", "augment")  # DRC, at 40 evaluations an image, for these alone
COMMON = ("eval.utility=true", "eval.base_rows=[clid]")
# Chosen by the held-out loss of seed 101, which is in no table: adapters want a larger step, and a
# clip near the norm of one gradient wastes less of the budget on noise.
TUNED = ("mitigation.lora.lr=5e-3", "mitigation.dp.lr=5e-3", "mitigation.dp.clip=0.02")
SMALL = (
    *("finetune.steps=150", "eval.utility_images=100"),
    *("data.sizes.target_member=100", "data.sizes.target_nonmember=200"),
    *("data.sizes.shadow_member=100", "data.sizes.shadow_nonmember=150"),
)
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


def main() -> None:
    command(study)


def study(words: Sequence[str]) -> None:
    from mia_bench.session import compose

    parser = argparse.ArgumentParser("python -m mia_bench.mitigation_study", description=__doc__)
    parser.add_argument("seeds", nargs="*", type=int, default=[0, 1, 2])
    parser.add_argument("--small", action="store_true", help="fewer rows and steps")
    parser.add_argument("--mitigation", action="append", help=f"instead of {MITIGATIONS}")
    parser.add_argument("--override", action="append", default=[], help="any key=value of conf/")
    args = parser.parse_args(words)
    given = [*(SMALL if args.small else ()), *args.override]
    names = ["none", *(m for m in args.mitigation or MITIGATIONS if m != "none")]
    found = run(args.seeds, names, given)
    reports = compose(*fitting(given, "none")).outputs / "reports"
    folder = reports / ("mitigations-small" if args.small else "mitigations")
    say(f"table: {report(found, folder, ' '.join(words))}")


def run(
    seeds: Sequence[int], mitigations: Sequence[str], overrides: Sequence[str]
) -> dict[str, dict[int, Outcome]]:
    """Outcomes by mitigation and seed; "none" comes first, as the others are compared with it."""
    from tqdm import tqdm

    cells = [(seed, name) for seed in seeds for name in mitigations]
    found: dict[str, dict[int, Outcome]] = {name: {} for name in mitigations}
    folders: dict[int, dict[str, Path]] = {}
    with tqdm(total=len(cells), desc="mitigations x seeds", unit="cell") as bar:
        for seed, name in cells:
            bar.set_postfix_str(f"{name}, seed {seed}")
            outcome, where = run_cell(seed, name, overrides, folders.get(seed))
            found[name][seed] = outcome
            folders.setdefault(seed, where)
            bar.update()
    return found


def run_cell(
    seed: int, mitigation: str, overrides: Sequence[str], unprotected: Mapping[str, Path] | None
) -> tuple[Outcome, dict[str, Path]]:
    """Train, attack and assess one mitigation; (outcome, run folder by attack).

    Args:
        unprotected: run folders without mitigation, to compare with; None when this is that run.
    """
    from mia_bench.main import execute
    from mia_bench.session import compose
    from mia_bench.workshop import make_plan

    attacks = [*ATTACKS, *(["drc"] if mitigation in RECONSTRUCTED else [])]
    chosen = [f"mitigation=[{mitigation}]", f"attack=[{','.join(attacks)}]", f"seed={seed}"]
    experiment = compose(*chosen, *COMMON, *fitting([*TUNED, *overrides], mitigation))
    results = {name: (metrics, folder) for name, metrics, folder in execute(experiment)}
    plan = make_plan(experiment)
    where = {name: folder for name, (_, folder) in results.items()}
    change: dict[str, Entry] = {
        name: difference(folder, unprotected[name], experiment.options.eval.seed)
        for name, folder in where.items()
        if unprotected is not None and name in unprotected
    }
    manifest = read_json(plan.target.folder / "manifest.json")
    outcome = Outcome(
        auroc={name: metrics["auroc"] for name, (metrics, _) in results.items()},
        tpr={name: metrics["tpr_at_fpr"]["0.01"] for name, (metrics, _) in results.items()},
        change=change,
        utility=read_json(plan.utility[plan.target] / "utility.json"),
        base=read_json(plan.utility[plan.base] / "utility.json"),
        about={k: manifest.get(k) for k in ("steps", "epochs", "chosen_step", "privacy")},
    )
    return outcome, where


def fitting(overrides: Sequence[str], mitigation: str) -> list[str]:
    """`mitigation.<name>.<key>=...` reaches the cells of that name alone."""
    own = f"mitigation.{mitigation}."
    return [o for o in overrides if not o.startswith("mitigation.") or o.startswith(own)]


def report(found: Mapping[str, Mapping[int, Outcome]], folder: Path, arguments: str = "") -> Path:
    """mitigations.md, .json, .png and .svg in `folder`; the path of the first.

    Args:
        arguments: of the command that made them, for the first line.
    """
    folder.mkdir(parents=True, exist_ok=True)
    plain = {name: {str(s): vars(o) for s, o in rows.items()} for name, rows in found.items()}
    write_json(folder / "mitigations.json", plain)
    draw(found, folder)
    command = f"python -m mia_bench.mitigation_study {arguments}".strip()
    parts = [
        f"`{command}`, seeds {', '.join(map(str, next(iter(found.values()))))}.",
        "",
        *privacy_table(found),
        "",
        *utility_table(found),
        "",
    ]
    path = folder / "mitigations.md"
    path.write_text("\n".join(parts), encoding="utf-8")
    return path


def privacy_table(found: Mapping[str, Mapping[int, Outcome]]) -> list[str]:
    """One line per attack and mitigation: AUC per seed, mean and spread, change, TPR."""
    seeds = list(next(iter(found.values())))
    head = [
        *("attack", "mitigation"),
        *(f"AUC, seed {s}" for s in seeds),
        *("AUC, mean (sd)", "change per seed", "TPR@1%FPR, mean (sd)"),
    ]
    lines = _head(head)
    for attack in (*ATTACKS, "drc"):
        for name, rows in found.items():
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


def utility_table(found: Mapping[str, Mapping[int, Outcome]]) -> list[str]:
    """One line per mitigation and one for the untouched base: means over seeds, spread."""
    fields = ("heldout_loss", "heldout_loss_null", "member_loss", "frechet", "fid", "clip_score")
    known = [
        f
        for f in fields
        if all(o.utility[f] is not None for r in found.values() for o in r.values())
    ]
    lines = _head(["mitigation", *known, "steps attacked", "epsilon"])
    first = next(iter(found.values())).values()
    lines.append(_line("(base)", *(spread([o.base[f] for o in first], 4) for f in known), "0", "-"))
    for name, rows in found.items():
        outcomes = list(rows.values())
        epsilon = [o.about["privacy"]["epsilon"] for o in outcomes if o.about["privacy"]]
        steps = [str(o.about["chosen_step"] or o.about["steps"]) for o in outcomes]
        lines.append(
            _line(
                name,
                *(spread([o.utility[f] for o in outcomes], 4) for f in known),
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


def draw(found: Mapping[str, Mapping[int, Outcome]], folder: Path) -> Path:
    """AUC against held-out loss and against the Fréchet distance, one point per seed and attack."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt
    from matplotlib.lines import Line2D

    figure, axes = plt.subplots(1, 2, figsize=(10.5, 4.8), sharey=True, layout="constrained")
    markers = dict(zip((*ATTACKS, "drc"), "os^Dv*", strict=True))
    colours = dict(zip(found, plt.get_cmap("tab10").colors, strict=False))
    panels = (("heldout_loss", "held-out denoising loss"), ("frechet", "Fréchet distance"))
    for panel, (field, label) in zip(axes, panels, strict=True):
        for name, rows in found.items():
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
        bases = [o.base[field] for o in next(iter(found.values())).values()]
        panel.axvline(np.mean(bases), color="grey", linestyle="--", linewidth=1)
        panel.set_xlabel(f"{label} (left is better; dashed: the base)")
    axes[0].set_ylabel("AUC of the attack")
    handles = [Line2D([], [], color=c, marker="o", ls="", label=n) for n, c in colours.items()]
    handles += [
        Line2D([], [], color="black", marker=m, ls="", label=a)
        for a, m in markers.items()
        if any(a in o.auroc for rows in found.values() for o in rows.values())
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


if __name__ == "__main__":
    main()
