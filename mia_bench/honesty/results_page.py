"""docs/honesty.md: what was promised, and what was measured."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from mia_bench.honesty.audit_rates import AuditRates, AuditSetting
from mia_bench.honesty.interval_coverage import NAMES, Covered, Setting
from mia_bench.honesty.null_runs import Run
from mia_bench.metrics import false_positive_budget

TITLES = {
    "auroc": "AUC",
    "asr": "ASR calibrated",
    "tpr_calibrated": "TPR calibrated",
    "realised_fpr": "realised FPR",
    "0.01": "TPR@1%FPR",
}
PROMISED = (0.93, 0.97)
HEAD = """# Statistical honesty

Written by `make honesty` from docs/honesty.json. 95 % intervals are promised to hold the truth in
93 to 97 % of cases; what does not is marked. In parentheses the standard error, in thousandths.
"""
COVERAGE = """
## Coverage where the truth is known

{sets:,} simulated data sets a line, 500 resamples. Normal scores, members higher; near-duplicates
in groups of the sizes of a real split, correlated by 0.7; thresholds fitted on 180 + 240 other rows
each time. `k`: false positives that TPR@1%FPR allows. **Bold**: outside 93 to 97 % by more than two
standard errors.
"""
RESPLITS = """
## Re-splits of features that know no member

CLiD on the untouched base, {rows} evaluation rows of the default run, alpha 0.5, members drawn
again by whole groups: the interval of AUC holds 0.5 in **{held:,} of {splits:,}** splits,
{share:.1%}.
"""
NULLS = """
## False alarms of the controls

The same rows, re-split: four blind rows and the base row, judged together (Holm, 5 %, at most
{permutations} permutations): flagged in **{flagged} of {runs}** null runs, {share:.1%}{which}.
Promised: 5 % or less.
"""
RUNS = """
## Whole runs in which nobody is a member

`model.finetune=false data.random_labels=true calibration=split`, 120 + 200 rows, half of them to
calibrate on, a seed each:
**{held} of {runs}** intervals hold 0.5. Promised: 16 of 20. AUC {least:.3f} to {most:.3f}.
"""
AUDIT = """
## Audits

Simulated audits, {audits:,} a line where nothing was used and 200 where something was; two
attacks, false-alarm rate {alpha:g}; the share that ends in yes. Promised: {alpha:g} or less where
nothing was used (a true AUC of 0.5), and where the files of the sets differ, that the audit cannot
say. **Bold**: above that by more than two standard errors.

| pictures | true AUC of an attack | yes | CDI's set test, Holm | cannot say | AUC seen with 80 % |
|---|---|---|---|---|---|
"""
REMARKS = """
## What remains out of range, and how a run says so

- `few_false_positives_tpr_*` (k of 1 to 3): percentiles held the truth in 84 % (k = 1), nearly
  always too high, because the highest of few non-members lies at a larger FPR than asked for. These
  intervals come from a Bayesian bootstrap of both populations: longer than 95 % asks for.
- `no_member_missed_tpr_*`: the same, because groups drawn again would miss none either. Percentiles
  held the truth in 90 % (true AUC 0.9996).
- `low_resolution_*` (k below 10): the estimate realises (k + 1) / (n + 1) in expectation, 1.25 %
  with 400 non-members, not 1 %. The interval is for a true FPR of 1 %.
- `extreme_auroc` (above 0.99 or below 0.01): few pairs are out of order. The normal quantile held
  the truth in 89 % (true AUC 0.998); Student's is longer than 95 % asks for where next to none are.
- Where many rows lie in few large groups, rates at a threshold are a matter of single groups, and
  no interval knows the groups that were not drawn.
- All intervals are conditional on this target, shadow and calibration; seeds are the other half.
"""


def page(figures: Mapping[str, Any]) -> str:
    """The page in Markdown; parts that were not measured have no section."""
    parts = [HEAD]
    if "coverage" in figures:
        parts += _coverage(figures["coverage"])
    if "resplits" in figures:
        resplits = figures["resplits"]
        share = resplits["held"] / resplits["splits"]
        parts.append(RESPLITS.format(**resplits, share=share))
    if "nulls" in figures:
        nulls = figures["nulls"]
        by_control = ", ".join(f"{name} {n}" for name, n in nulls["by_control"].items())
        which = f": {by_control}" if by_control else ""
        share = nulls["flagged"] / nulls["runs"]
        parts.append(NULLS.format(**nulls, share=share, which=which))
    if "runs" in figures:
        runs = [Run(**run) for run in figures["runs"]]
        held, values = sum(run.holds for run in runs), [run.value for run in runs]
        parts.append(RUNS.format(held=held, runs=len(runs), least=min(values), most=max(values)))
    if "audit" in figures:
        parts += _audits(figures["audit"])
    return "".join([*parts, REMARKS])


def _coverage(settings: list[Mapping[str, Any]]) -> Iterator[str]:
    first = Covered(**next(iter(settings[0]["covered"].values())))
    yield COVERAGE.format(sets=first.sets)
    yield "\n| members / non-members | groups of | k | true AUC | "
    yield " | ".join(TITLES[name] for name in NAMES) + " |\n"
    yield "|---|---|---|---|" + "---|" * len(NAMES) + "\n"
    for entry in settings:
        setting = Setting(**{k: v for k, v in entry.items() if k != "covered"})
        shares = {name: Covered(**c) for name, c in entry["covered"].items()}
        k = int(false_positive_budget(setting.nonmembers, 0.01))
        about = f"{setting.members} / {setting.nonmembers} | {setting.groups} | {k} | "
        runs = " | ".join(_run(shares[name]) if name in shares else "n/a" for name in NAMES)
        yield f"| {about}{setting.auroc:.4f} | {runs} |\n"


def _audits(settings: list[Mapping[str, Any]]) -> Iterator[str]:
    first = settings[0]
    yield AUDIT.format(audits=first["rates"]["audits"], alpha=first["alpha"])
    for entry in settings:
        setting = AuditSetting(**{k: v for k, v in entry.items() if k not in ("alpha", "rates")})
        rates = AuditRates(**entry["rates"])
        sets = f"{setting.first} + {setting.second}"
        if setting.variants:
            sets = f"{setting.first}, each among {setting.second} variants"
        sets += ", files differ" * setting.differing
        null = setting.shift == 0
        shares = [
            _alarm(n, rates.audits, entry["alpha"], null) for n in (rates.yes, rates.set_test)
        ]
        leak = "n/a" if rates.smallest_leak is None else f"{rates.smallest_leak:.2f}"
        yield (
            f"| {sets} | {_area(setting.shift):.2f} | {shares[0]} | {shares[1]} | "
            f"{rates.cannot_say / rates.audits:.3f} | {leak} |\n"
        )


def _area(shift: float) -> float:
    """AUROC of one attack, whose scores have a variance of two."""
    from scipy.stats import norm

    return float(norm.cdf(shift / 2))


def _alarm(count: int | None, audits: int, alpha: float, null: bool) -> str:
    if count is None:
        return "n/a"
    error = (alpha * (1 - alpha) / audits) ** 0.5
    text = f"{count / audits:.3f}"
    return f"**{text}**" if null and count / audits > alpha + 2 * error else text


def _run(covered: Covered) -> str:
    text = f"{covered.share:.3f} ({1000 * covered.error:.0f})"
    low, high = PROMISED[0] - 2 * covered.error, PROMISED[1] + 2 * covered.error
    return text if low <= covered.share <= high else f"**{text}**"
