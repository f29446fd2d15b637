"""The leaderboard as plain tables: CSV for machines, markdown and LaTeX for papers."""

from __future__ import annotations

import csv
import io
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mia_bench.display.console import interval
from mia_bench.display.markdown_text import markdown, markdown_row
from mia_bench.report.figures import at_one, cost_of, step_of, value
from mia_bench.report.load import RunResult

HEADINGS = (
    *("attack", "access", "model", "data", "mitigation", "seed", "step"),
    *("AUC", "TPR@1%FPR", "ASR calibrated", "NFE", "seconds", "set", "flags"),
)
TEXT_COLUMNS = 5
NOTE = (
    "Brackets: 95 % intervals over near-duplicate groups, conditional on target, shadow and "
    "calibration. * fewer than 10 false positives allowed. NFE: U-Net evaluations per image. Set: "
    "images needed to tell a set of members (p < 0.01, arXiv 2411.12858)."
)


def ordered(runs: Sequence[RunResult]) -> list[RunResult]:
    """By data, model, mitigation, step and seed; within a target the best attack first."""
    return sorted(
        runs,
        key=lambda c: (c.data, c.model, c.mitigation, step_of(c), c.seed, -value(c), c.attack),
    )


def row(run: RunResult) -> tuple[str, ...]:
    """One line of text per cell, in the order of HEADINGS."""
    tpr = at_one(run)
    needed = (run.metrics.get("dataset_test") or {}).get("samples_needed")
    return (
        *(run.attack, run.access, run.model, run.data, run.mitigation),
        *(str(run.seed), run.step),
        interval(run.metrics["auroc"]),
        interval(tpr) + ("*" if tpr.get("low_resolution") else ""),
        interval(run.metrics["asr"]),
        f"{cost_of(run):.4g}",
        f"{run.metrics['seconds']:.0f}",
        "-" if needed is None else str(needed),
        " ".join(notable(run)),
    )


def notable(run: RunResult) -> list[str]:
    """Flags that put a row in doubt; coarse resolution is said by the star."""
    flags = [f for f in run.metrics["flags"] if f.startswith("control_") or f == "no_interval"]
    return [*flags, "differs_from_stored"] if run.differs else flags


def as_markdown(runs: Sequence[RunResult], title: str) -> str:
    """A table that renders on any forge; what is untrusted cannot break out of its column."""
    lines = [f"# {markdown(title)}", "", markdown_row(HEADINGS)]
    lines.append("|" + "---|" * TEXT_COLUMNS + "---:|" * (len(HEADINGS) - TEXT_COLUMNS))
    lines += [markdown_row(row(run)) for run in runs]
    return "\n".join([*lines, "", NOTE, ""])


LATEX = {
    **{c: f"\\{c}" for c in "&%$#_{}"},
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "\\": r"\textbackslash{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
}


def as_latex(runs: Sequence[RunResult], title: str) -> str:
    """A booktabs table; every character that LaTeX reads as a command is written out."""
    columns = "l" * TEXT_COLUMNS + "r" * (len(HEADINGS) - TEXT_COLUMNS - 1) + "l"
    lines = [
        r"% needs \usepackage{booktabs}",
        f"\\begin{{tabular}}{{{columns}}}",
        r"\toprule",
        _latex_row(HEADINGS),
        r"\midrule",
        *(_latex_row(row(run)) for run in runs),
        r"\bottomrule",
        r"\end{tabular}",
        f"% {' '.join(title.split())}. {NOTE}",
    ]
    return "\n".join([*lines, ""])


def _latex_row(entries: Sequence[str]) -> str:
    return " & ".join(map(latex, entries)) + r" \\"


def latex(text: str) -> str:
    return "".join(LATEX.get(c, c) for c in " ".join(text.split()))


NUMBERS = ("auroc", "tpr_at_fpr_0_01", "tpr_at_fpr_0_001", "asr", "tpr_calibrated", "realised_fpr")


def as_csv(runs: Sequence[RunResult]) -> str:
    """Unrounded figures, one column each, with the key and the folder of every run."""
    out = io.StringIO()
    ends = [f"{name}{end}" for name in NUMBERS for end in ("", "_lo", "_hi")]
    writer = csv.writer(out, lineterminator="\n")
    about = ("attack", "access", "model", "data", "mitigation", "seed", "step", "run_key")
    counts = ("n_members", "n_nonmembers", "nfe_forward", "nfe_backward", "seconds")
    writer.writerow([*about, *ends, "asr_oracle", "asr_oracle_permuted", *counts, "flags"])
    for run in runs:
        m = run.metrics
        at = {f"tpr_at_fpr_{f.replace('.', '_')}": entry for f, entry in m["tpr_at_fpr"].items()}
        figures = [(at.get(n) or m.get(n) or {}).get(e) for n in NUMBERS for e in _ENDS]
        names = (run.attack, run.access, run.model, run.data, run.mitigation)
        writer.writerow(
            [
                *map(_run, names),
                *(run.seed, run.step, run.key),
                *("" if v is None else repr(float(v)) for v in figures),
                *(m["asr_oracle"], m["asr_oracle_permuted"]),
                *(m.get(name, "") for name in counts),
                _run(" ".join([*m["flags"], *(["differs_from_stored"] if run.differs else [])])),
            ]
        )
    return out.getvalue()


_ENDS = ("value", "lo", "hi")


def _run(text: str) -> str:
    """Spreadsheets run what starts like a formula; such text gets an apostrophe in front."""
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t", "\r")) else text


@dataclass(frozen=True)
class Spread:
    """An attack over training seeds: what a single run's interval does not contain."""

    attack: str
    model: str
    data: str
    mitigation: str
    seeds: tuple[int, ...]
    auroc: tuple[float, ...]
    tpr: tuple[float, ...] | None

    @property
    def auc_mean_sd(self) -> str:
        return _mean_sd(self.auroc)

    @property
    def tpr_mean_sd(self) -> str:
        return _mean_sd(self.tpr) if self.tpr else "n/a"


def over_seeds(runs: Sequence[RunResult]) -> list[Spread]:
    """Mean and standard deviation where an attack ran with several seeds and nothing else differs.

    What else differs is seen in the configuration without its seeds, not in names.
    """
    groups: dict[str, list[RunResult]] = defaultdict(list)
    for run in runs:
        groups[repr((run.attack, run.step, seedless(run.config)))].append(run)
    return [_spread(same) for same in groups.values() if len({c.seed for c in same}) > 1]


def _spread(same: Sequence[RunResult]) -> Spread:
    by_seed = {c.seed: c for c in sorted(same, key=lambda c: c.seed)}
    one, runs = same[0], list(by_seed.values())
    tprs = [at_one(c)["value"] for c in runs]
    known = tuple(t for t in tprs if t is not None)
    return Spread(
        *(one.attack, one.model, one.data, one.mitigation),
        tuple(by_seed),
        tuple(value(c) for c in runs),
        known if len(known) == len(tprs) else None,
    )


def seedless(config: Mapping[str, Any]) -> dict[str, Any]:
    """What decides a cell's figures except seeds; options of other cells of its run stay out."""
    parts = ("model", "data", "attack", "mitigation", "finetune", "calibration")
    kept: dict[str, Any] = {name: dict(config.get(name) or {}) for name in parts}
    kept["data"].pop("split_seed", None)
    for name in ("seed", "save_at", "val_every", "val_rows", "checkpoint_every"):
        kept["finetune"].pop(name, None)
    kept["dtype"] = (config.get("eval") or {}).get("dtype")
    if kept["model"].get("finetune", True):
        kept["precision"] = (config.get("trainer") or {}).get("precision")
    return kept


def _mean_sd(values: Sequence[float]) -> str:
    found = np.array(values)
    return f"{found.mean():.3f} ({found.std(ddof=1):.3f})"
