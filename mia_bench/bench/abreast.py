"""Two models one after the other with every thread, and beside each other with one each.

`python -m mia_bench.bench.abreast OUTPUTS [override ...]` prints the wall seconds of training and
of asking as JSON.
"""

from __future__ import annotations

import json
import os
import sys
import time
from tempfile import TemporaryDirectory

from mia_bench.bench.apart import reported

RUN = ("trainer=cpu", "attack=clid", "eval.base_rows=[]", "finetune.steps=150")


def abreast() -> dict[str, float]:
    """`train`, `ask`: seconds of one after the other over those of beside each other."""
    apart, beside = _seconds("trainer.beside=false"), _seconds()
    return {stage: apart[stage] / beside[stage] for stage in apart}


def _seconds(*overrides: str) -> dict[str, float]:
    with TemporaryDirectory() as outputs:
        words = ["-m", "mia_bench.bench.abreast", outputs, *RUN, *overrides]
        return reported(words, OMP_NUM_THREADS=str(os.cpu_count()))


def main() -> None:
    from mia_bench.execution.stages import extract_features, train_models
    from mia_bench.planning.experiment import compose
    from mia_bench.planning.make_plan import make_plan

    outputs, *overrides = sys.argv[1:]
    plan = make_plan(compose(*overrides, f"paths.outputs={outputs}"))
    found = {}
    for stage, work in (("train", train_models), ("ask", extract_features)):
        began = time.perf_counter()
        work(plan)
        found[stage] = time.perf_counter() - began
    print(json.dumps(found))


if __name__ == "__main__":
    main()
