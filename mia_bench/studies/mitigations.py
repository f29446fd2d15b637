"""`python -m mia_bench.mitigation_study [0 1 2]`: what each defence buys, and what it costs.

Every mitigation under every attack, over seeds; whatever is finished is reused, so a killed study
goes on where it was. Tables and figure go to outputs/reports/mitigations/, as Markdown and JSON.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from mia_bench.storage import layout
from mia_bench.storage.files import read_json
from mia_bench.studies.mitigation_tables import ATTACKS, Entry, Outcome
from mia_bench.studies.seeds import difference

MITIGATIONS = ("none", "augment", "early_stop", "lora", "dp")

RECONSTRUCTED = ("none", "augment")  # DRC, at 40 evaluations an image, for these alone
COMMON = ("eval.utility=true", "eval.base_rows=[clid]")
# Chosen by the held-out loss of seed 101, which is in no table: adapters want a larger step, and a
# clip near the norm of one gradient wastes less of the budget on noise.
TUNED = ("mitigation.lora.lr=5e-3", "mitigation.dp.lr=5e-3", "mitigation.dp.clip=0.02")
SMALL_SIZES = (
    *("finetune.steps=150", "eval.utility_images=100"),
    *("data.sizes.target_member=100", "data.sizes.target_nonmember=200"),
    *("data.sizes.shadow_member=100", "data.sizes.shadow_nonmember=150"),
)


def run(
    seeds: Sequence[int], mitigations: Sequence[str], overrides: Sequence[str]
) -> dict[str, dict[int, Outcome]]:
    """Outcomes by mitigation and seed; "none" comes first, as the others are compared with it."""
    from tqdm import tqdm

    combinations = [(seed, name) for seed in seeds for name in mitigations]
    outcomes: dict[str, dict[int, Outcome]] = {name: {} for name in mitigations}
    unprotected: dict[int, dict[str, Path]] = {}
    with tqdm(total=len(combinations), desc="mitigations x seeds", unit="run") as bar:
        for seed, name in combinations:
            bar.set_postfix_str(f"{name}, seed {seed}")
            outcome, folders = run_one(seed, name, overrides, unprotected.get(seed))
            outcomes[name][seed] = outcome
            unprotected.setdefault(seed, folders)
            bar.update()
    return outcomes


def run_one(
    seed: int, mitigation: str, overrides: Sequence[str], unprotected: Mapping[str, Path] | None
) -> tuple[Outcome, dict[str, Path]]:
    """Train, attack and assess one mitigation; (outcome, run folder by attack).

    Args:
        unprotected: run folders without mitigation, to compare with; None when this is that run.
    """
    from mia_bench.execution.single_run import run_single
    from mia_bench.planning.experiment import compose

    attacks = [*ATTACKS, *(["drc"] if mitigation in RECONSTRUCTED else [])]
    chosen = [f"mitigation=[{mitigation}]", f"attack=[{','.join(attacks)}]", f"seed={seed}"]
    experiment = compose(*chosen, *COMMON, *fitting([*TUNED, *overrides], mitigation))
    finished = run_single(experiment)
    plan, folders = finished.plan, finished.folders
    change: dict[str, Entry] = {
        name: difference(folder, unprotected[name], experiment.options.eval.seed)
        for name, folder in folders.items()
        if unprotected is not None and name in unprotected
    }
    manifest = read_json(plan.target.folder / layout.MANIFEST_FILE)
    outcome = Outcome(
        auroc={name: metrics["auroc"] for name, metrics in finished.metrics.items()},
        tpr={name: metrics["tpr_at_fpr"]["0.01"] for name, metrics in finished.metrics.items()},
        change=change,
        utility=read_json(plan.utility[plan.target] / layout.UTILITY_FILE),
        base=read_json(plan.utility[plan.base] / layout.UTILITY_FILE),
        about={k: manifest.get(k) for k in ("steps", "epochs", "chosen_step", "privacy")},
    )
    return outcome, folders


def fitting(overrides: Sequence[str], mitigation: str) -> list[str]:
    """`mitigation.<name>.<key>=...` reaches the runs with that mitigation alone."""
    own = f"mitigation.{mitigation}."
    return [o for o in overrides if not o.startswith("mitigation.") or o.startswith(own)]
