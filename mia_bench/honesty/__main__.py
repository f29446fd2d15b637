"""`python -m mia_bench.honesty [PART ...]`: check the statistical promises of a run.

Every part writes its figures into docs/honesty.json; docs/honesty.md is made of them. About an hour
on one core; parts that are done are measured again.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from mia_bench.config.arguments import parse, run_command
from mia_bench.config.command_spec import Command, Option, Positional
from mia_bench.honesty.audit_rates import AuditSetting, audit_rates
from mia_bench.honesty.interval_coverage import Setting, covered
from mia_bench.honesty.results_page import page
from mia_bench.storage import layout
from mia_bench.storage.files import replacing
from mia_bench.utils.terminal import echo

FIGURES, PAGE = Path("docs/honesty.json"), Path("docs/honesty.md")
SETTINGS = (
    Setting(180, 400, 0.0),
    Setting(180, 400, 0.5),
    Setting(180, 400, 1.5),
    Setting(180, 400, 3.0),
    Setting(180, 400, 4.0),
    Setting(180, 400, 4.7),
    Setting(180, 120, 1.5),
    Setting(180, 250, 1.5),
    Setting(400, 1200, 0.9, "openclipart"),
    Setting(400, 1200, 0.9),
    Setting(1000, 2000, 1.5),
)
SETS, RESAMPLES = 1000, 500
SPLITS, NULLS, PERMUTATIONS, RUNS = 1000, 200, 199, 20
MEMBERS = 180
DEFAULT = (
    *("model.finetune=false", "data.random_labels=true", "calibration=split"),
    *("seed=0", "eval.blind_rows=false"),
)


def coverage(count: int | None, outputs: Path) -> Iterator[Any]:
    """All figures so far after each setting, so that a stopped run leaves some."""
    del outputs
    measured = []
    for setting in SETTINGS:
        shares = covered(setting, count or SETS, RESAMPLES)
        measured.append(asdict(setting) | {"covered": {n: asdict(c) for n, c in shares.items()}})
        line = ", ".join(f"{name} {of.share:.3f}" for name, of in shares.items())
        echo(f"{setting}: {line}")
        yield measured


def resplits(count: int | None, outputs: Path) -> Iterator[Any]:
    from mia_bench.honesty.random_splits import holds_chance

    base, splits = _base(outputs), count or SPLITS
    held = holds_chance(base.scores(), base.group, MEMBERS, splits, RESAMPLES)
    yield {"splits": splits, "held": sum(held), "rows": len(base.group)}


def nulls(count: int | None, outputs: Path) -> Iterator[Any]:
    from mia_bench.honesty.control_false_alarms import ControlRows, false_alarms
    from mia_bench.planning.experiment import compose

    base, experiment = _base(outputs), compose(*DEFAULT)
    items = {item.sample_id: item for item in experiment.source.items().items}
    chosen = [items[sid] for sid in base.table.sample_id]
    rows = ControlRows.of(chosen, base.group, base.scores(), experiment.model.resolution)
    alarms = false_alarms(rows, MEMBERS, count or NULLS, PERMUTATIONS)
    names = sorted({name for flagged in alarms for name in flagged})
    yield {
        "runs": len(alarms),
        "permutations": PERMUTATIONS,
        "flagged": sum(bool(flagged) for flagged in alarms),
        "by_control": {name: sum(name in flagged for flagged in alarms) for name in names},
    }


def runs(count: int | None, outputs: Path) -> Iterator[Any]:
    from mia_bench.honesty.null_runs import null_runs

    yield [asdict(run) for run in null_runs(outputs, range(count or RUNS))]


NULL_AUDITS, LEAKY_AUDITS, AUDIT_ALPHA = 1000, 200, 0.05
AUDIT_SETTINGS = (
    *(AuditSetting(*sizes) for sizes in ((8, 8), (15, 40), (30, 30), (100, 100))),
    AuditSetting(30, 30, differing=True),
    *(AuditSetting(n, 19, variants=True) for n in (5, 20)),
    *(AuditSetting(n, n, shift) for n in (8, 30, 100) for shift in (0.5, 1.0, 1.5)),
    *(AuditSetting(n, 19, shift, variants=True) for n in (5, 20) for shift in (0.5, 1.0)),
)


def audit(count: int | None, outputs: Path) -> Iterator[Any]:
    """All figures so far after each setting."""
    del outputs
    measured = []
    for setting in AUDIT_SETTINGS:
        audits = count or (LEAKY_AUDITS if setting.shift else NULL_AUDITS)
        rates = audit_rates(setting, audits, AUDIT_ALPHA)
        measured.append({**asdict(setting), "alpha": AUDIT_ALPHA, "rates": asdict(rates)})
        echo(f"{setting}: {rates}")
        yield measured


PARTS: dict[str, Callable[[int | None, Path], Iterator[Any]]] = {
    "coverage": coverage,
    "resplits": resplits,
    "nulls": nulls,
    "runs": runs,
    "audit": audit,
}


def _base(outputs: Path) -> Any:
    """CLiD's features of the default evaluation rows on the base, made where they are missing."""
    from mia_bench.execution.single_run import run_single
    from mia_bench.honesty.random_splits import Base
    from mia_bench.planning.experiment import compose

    plan = run_single(compose(*DEFAULT, f"paths.outputs={outputs}")).plan
    (spec,) = plan.runs
    return Base.of(spec.evaluation.folder / layout.FEATURES_FILE, plan.split)


def measure(parts: Iterable[str], count: int | None, outputs: Path, figures: Path) -> Any:
    """The figures of all parts, those of `parts` measured now."""
    stored: dict[str, Any] = json.loads(figures.read_text()) if figures.exists() else {}
    for part in parts:
        for measured in PARTS[part](count, outputs):
            stored[part] = measured
            figures.parent.mkdir(parents=True, exist_ok=True)
            with replacing(figures) as partial:  # hours of other parts are in it
                partial.write_text(json.dumps(stored, indent=1, sort_keys=True) + "\n")
        echo(f"{part}: written to {figures}")
    return stored


COMMAND = Command(
    "honesty",
    "mia_bench.honesty",
    __doc__,
    (
        Option("count", "sets, splits or runs; where not given, as many as docs/honesty.md", "N"),
        Option("outputs", "folder for the runs this makes", "FOLDER", "outputs/honesty"),
        Option("figures", "where figures are kept", "FILE", FIGURES.as_posix()),
        Option("page", "the page made of them", "FILE", PAGE.as_posix()),
    ),
    Positional("PART", "what to measure", tuple(PARTS), tuple(PARTS)),
    examples=("mia-bench honesty", "mia-bench honesty nulls count=50"),
)


def main(words: Sequence[str] | None = None) -> None:
    run_command(COMMAND, _measure, words)


def _measure(words: Sequence[str]) -> None:
    arguments = parse(COMMAND, words)
    count = arguments.integer("count", least=1) if "count" in arguments else None
    outputs, figures = arguments.path("outputs"), arguments.path("figures")
    written = arguments.path("page")
    written.parent.mkdir(parents=True, exist_ok=True)  # before hours of work, not after
    stored = measure(arguments.words, count, outputs, figures)
    written.write_text(page(stored))
    echo(f"written: {written}")


if __name__ == "__main__":
    main()
