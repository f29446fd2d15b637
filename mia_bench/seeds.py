"""`python -m mia_bench.seeds SEED ...`: the spread of every attack over training seeds."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from mia_bench.config.arguments import command
from mia_bench.storage.files import write_json
from mia_bench.studies.seeds import run_seed, show
from mia_bench.utils.terminal import echo


def main() -> None:
    command(study)


def study(words: Sequence[str]) -> None:
    from mia_bench.planning.experiment import compose

    parser = argparse.ArgumentParser("python -m mia_bench.seeds", description=__doc__)
    parser.add_argument("seeds", nargs="*", type=int, default=[0, 1, 2])
    parser.add_argument("--override", action="append", default=[], help="any key=value of conf/")
    args = parser.parse_args(words)
    out = compose(*args.override).outputs / "reports" / "seeds.json"
    found = {seed: run_seed(seed, args.override) for seed in args.seeds}
    report = {str(seed): row for seed, row in found.items()}
    out.parent.mkdir(parents=True, exist_ok=True)
    write_json(out, report)
    show(found)
    echo(f"figures: {out}")


if __name__ == "__main__":
    main()
