"""`python -m mia_bench.mitigation_study SEED ...`: mitigations compared under the attacks."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from mia_bench.config.arguments import command
from mia_bench.studies.mitigation_tables import report
from mia_bench.studies.mitigations import MITIGATIONS, SMALL_SIZES, fitting, run
from mia_bench.utils.terminal import echo


def main() -> None:
    command(study)


def study(words: Sequence[str]) -> None:
    from mia_bench.planning.experiment import compose

    parser = argparse.ArgumentParser("python -m mia_bench.mitigation_study", description=__doc__)
    parser.add_argument("seeds", nargs="*", type=int, default=[0, 1, 2])
    parser.add_argument("--small", action="store_true", help="fewer rows and steps")
    parser.add_argument("--mitigation", action="append", help=f"instead of {MITIGATIONS}")
    parser.add_argument("--override", action="append", default=[], help="any key=value of conf/")
    args = parser.parse_args(words)
    given = [*(SMALL_SIZES if args.small else ()), *args.override]
    names = ["none", *(m for m in args.mitigation or MITIGATIONS if m != "none")]
    found = run(args.seeds, names, given)
    reports = compose(*fitting(given, "none")).outputs / "reports"
    folder = reports / ("mitigations-small" if args.small else "mitigations")
    echo(f"table: {report(found, folder, ' '.join(words))}")


if __name__ == "__main__":
    main()
