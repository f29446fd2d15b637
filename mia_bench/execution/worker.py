"""`python -m mia_bench.execution.worker`: the process that serves other models of a plan.

It reads one line of JSON, which says what to do, and ends when its input does, which is when the
run that started it ends. It writes a report when it fails.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from collections.abc import Sequence
from typing import Any, cast

from mia_bench.storage.command import recorded_as


def main() -> None:
    """Do what the run says; an error is reported to it, what libraries print goes to stderr."""
    report = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    order = json.loads(sys.stdin.readline())
    command = order.pop("command")
    threading.Thread(target=_end_with_the_run, daemon=True).start()
    try:
        with recorded_as(command):
            _work(**order)
    except Exception as error:
        import traceback

        from mia_bench.config.error_messages import explain

        explanation = explain(error)
        message = explanation or "".join(traceback.format_exception(error))
        json.dump({"error": message, "explained": explanation is not None}, report)
    report.close()


def _end_with_the_run() -> None:
    while os.read(0, 1):  # not sys.stdin, whose lock an interpreter that ends would wait for
        pass
    os._exit(1)


def _work(config: dict[str, Any], stage: str, kinds: Sequence[str]) -> None:
    from omegaconf import DictConfig, OmegaConf

    from mia_bench.config.schema import Root
    from mia_bench.execution.stages import STAGES
    from mia_bench.planning.experiment import to_experiment
    from mia_bench.planning.make_plan import make_plan

    cfg = cast(DictConfig, OmegaConf.merge(OmegaConf.structured(Root), config))
    STAGES[stage](make_plan(to_experiment(cfg)), kinds)


if __name__ == "__main__":
    main()
