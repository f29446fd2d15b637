"""What a report says first: of what was asked what, the result in one sentence, and of each target
what a reader must know of it; and the paper behind an attack.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from mia_bench.metrics import registry
from mia_bench.report.attachments import Training, Utility
from mia_bench.report.controls import Family
from mia_bench.report.figures import PlottedTarget, at_one, defence, step_of, value
from mia_bench.report.load import RunResult
from mia_bench.storage import layout

ATTACKS = "mia_bench.attacks."
ARXIV = re.compile(r"arXiv (\d{4}\.\d{4,5})")
TITLE_NAMES = 3  # models or data sets that a title names
RECIPE = ("batch_size", "lr", "accumulate", "weight_decay", "ema_decay", "lora_rank", "p_uncond")
"""Entries of a fine-tune that a model card shows, where they are set."""


def title(runs: Sequence[RunResult]) -> str:
    """What was asked of what: attacks, models and data."""
    models, data = (_named({getattr(run, name) for run in runs}) for name in ("model", "data"))
    attacks = {run.attack for run in runs}
    if len(attacks) <= TITLE_NAMES:
        who = f"{_named(attacks)} against {models}"
    else:
        who = f"{len(attacks)} membership-inference attacks against {models}"
    trained = any(layout.is_step_number(run.step) for run in runs)
    return f"{who} {'fine-tuned on' if trained else 'on'} {data}"


def _named(names: Iterable[str]) -> str:
    every = sorted(names)
    if len(every) > TITLE_NAMES:
        return f"{', '.join(every[:TITLE_NAMES])} and {len(every) - TITLE_NAMES} more"
    return " and ".join([", ".join(every[:-1]), every[-1]]) if len(every) > 1 else every[0]


def sentence(runs: Sequence[RunResult], families: Sequence[Family]) -> str:
    """The result: what the best attack finds on the last step of the targets without mitigation."""
    if flagged := sorted({family.data for family in families if family.flagged}):
        return (
            f"Controls that need no fine-tuned model tell members from non-members of "
            f"{_named(flagged)}: what the attacks find there is no evidence of memorisation."
        )
    plain = [run for run in runs if run.mitigation == "none"] or list(runs)
    last = max(map(step_of, plain))
    best = max((run for run in plain if step_of(run) == last), key=value)
    auc, tpr = registry.entry(best.metrics, "auroc"), at_one(best)["value"]
    where = f"{best.model} on {best.data}, seed {best.seed}"
    if auc["lo"] is None:
        figure = f"AUC {auc['value']:.3f}"
    else:
        figure = f"AUC {auc['value']:.3f}, 95 % interval {auc['lo']:.2f} to {auc['hi']:.2f}"
    if auc["lo"] is None or auc["lo"] <= 0.5:
        none = "No attack surely tells members from non-members"
        return f"{none}; {best.attack} comes nearest ({figure}; {where})."
    caught = (
        "" if tpr is None else f"; at 1 % false positives it finds {100 * tpr:.0f} % of members"
    )
    success = f"Members can be told from non-members: {best.attack} does it best"
    return f"{success} ({figure}; {where}){caught}."


def arxiv_id(run: RunResult) -> str | None:
    """The paper of a run's attack, as the docstring of its module in this package names it.

    The stored import path is only looked up as a file: nothing that a run names is imported.
    """
    attacks = run.config.get("attack")
    node = attacks.get(run.attack) if isinstance(attacks, Mapping) else None
    path = str(node.get("_target_", "")) if isinstance(node, Mapping) else ""
    return _arxiv_of(path) if path.startswith(ATTACKS) else None


@cache
def _arxiv_of(path: str) -> str | None:
    *folders, module, _ = ["", *path.removeprefix(ATTACKS).split(".")]
    if not all(map(str.isidentifier, (*folders[1:], module))):
        return None
    file = Path(__file__).parents[1].joinpath("attacks", *folders, f"{module}.py")
    match = ARXIV.search(file.read_text(encoding="utf-8")) if file.is_file() else None
    return match.group(1) if match else None


@dataclass(frozen=True)
class ModelCard:
    """A target in a few (name, value) lines."""

    title: str
    facts: tuple[tuple[str, str], ...]
    samples: str | None = None


def model_card(
    target: PlottedTarget, training: Training | None, utility: Utility | None
) -> ModelCard:
    """Data, epochs, recipe, mitigation and losses of one target; the page adds its samples."""
    run = target.first
    recipe, lora = run.config.get("finetune") or {}, (run.config["model"] or {}).get("lora")
    facts = [
        ("model", run.model + (f" with LoRA {lora}" if lora else "")),
        (
            "data",
            f"{run.data}: {run.metrics['n_members']} members, "
            f"{run.metrics['n_nonmembers']} non-members evaluated",
        ),
        ("mitigation", defence(run)),
        ("fine-tuning", _amount(run, training)),
    ]
    if layout.is_step_number(run.step):
        options = [(name, recipe.get(name)) for name in RECIPE]
        values = [f"{name.replace('_', ' ')} {v:g}" for name, v in options if _is_set(name, v)]
        if words := ", ".join([str(recipe.get("optimizer", "")), *values]).strip(", "):
            facts.append(("recipe", words))
    losses = {} if training is None else training.losses
    for name, words in (("val_member", "loss on members"), ("val_heldout", "held-out loss")):
        if losses.get(name):
            facts.append((words, f"{losses[name][-1]:.4g}"))
    if utility is not None:
        for name, words in (("frechet", "Fréchet distance"), ("clip_score", "CLIP score")):
            if name in utility.values:
                facts.append((words, f"{utility.values[name]:.4g}"))
    best = max(target.runs, key=value)
    facts.append(("highest AUC", f"{value(best):.3f} ({best.attack})"))
    return ModelCard(target.title, tuple(facts))


def _amount(run: RunResult, training: Training | None) -> str:
    if not layout.is_step_number(run.step):
        return "none, attacked as given"
    epochs = None if training is None else training.epochs
    return f"{run.step} steps" + (f", {epochs:.3g} epochs" if epochs is not None else "")


def _is_set(name: str, figure: object) -> bool:
    """Whether an entry of the recipe says something: not absent, off, or what is always so."""
    if isinstance(figure, bool) or not isinstance(figure, int | float):
        return False
    return figure != (1 if name == "accumulate" else 0)
