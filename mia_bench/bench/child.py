"""`python -m mia_bench.bench.child MEASUREMENT [argument ...]`: one measurement, printed as JSON.

For what must be measured in a process of its own: peak memory belongs to a process, and so does the
number of threads. The other modules start it by `timing.run_child`.

    unet EVALUATIONS                          wall seconds of bare U-Net evaluations
    predict_pass ROWS ATTACK [FOLDER]         seconds and peak memory of a predict pass
    peak_memory [ATTACK]                      peak bytes of one batch, of the U-Net alone by default
    model_stages OUTPUTS [override ...]       wall seconds of training and of feature extraction
    metrics ROWS                              seconds and bytes per row of a run's metrics
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

# Every measurement imports only what it needs, so that nothing else counts as its memory.


def unet(evaluations: str) -> float:
    from mia_bench.bench.unet_baseline import seconds_of_evaluations

    return seconds_of_evaluations(int(evaluations))


def predict_pass(rows: str, attack: str, folder: str | None = None) -> dict[str, float]:
    from mia_bench.bench.scale.memory import predict_pass as measure

    with TemporaryDirectory() as temporary:
        return measure(int(rows), attack, Path(folder or temporary))


def peak_memory(attack: str | None = None) -> int:
    from mia_bench.bench.scale.memory import peak_of_batch

    return peak_of_batch(attack)


def model_stages(outputs: str, *overrides: str) -> dict[str, float]:
    from mia_bench.bench.scale.runs import seconds_of_stages

    return seconds_of_stages(*overrides, f"paths.outputs={outputs}")


def metrics(rows: str) -> dict[str, float]:
    from mia_bench.bench.scale.runs import metrics_of_rows

    return metrics_of_rows(int(rows))


MEASUREMENTS: dict[str, Callable[..., Any]] = {
    "unet": unet,
    "predict_pass": predict_pass,
    "peak_memory": peak_memory,
    "model_stages": model_stages,
    "metrics": metrics,
}


def main(measurement: str, *arguments: str) -> None:
    print(json.dumps(MEASUREMENTS[measurement](*arguments)))


if __name__ == "__main__":
    main(*sys.argv[1:])
