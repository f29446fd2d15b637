"""`python -m mia_bench.bench.precision [DTYPE ...]`: AUROC of attacks in a dtype against float32.

Extracts the features of a run's attacks again in every dtype and adds `precision.<dtype>.<attack>`
to docs/benchmarks.json; stored features are reused. `attack=[a,b]` measures these alone. TF32 needs
a GPU.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from mia_bench.bench import results_page
from mia_bench.bench.results import add_figures
from mia_bench.config.arguments import parse, run_command
from mia_bench.config.command_spec import Command, Positional
from mia_bench.config.validate import DTYPES
from mia_bench.storage import layout
from mia_bench.utils.terminal import echo

ATTACKS = (
    *("loss", "mc", "clid", "noise_agg", "drc_cheap", "secmi", "pia", "pian"),
    *("pfami", "sima", "rediffuse", "gsa"),
)


def drift(dtype: str, attacks: Sequence[str], overrides: list[str]) -> dict[str, Any]:
    """`<attack>`: change of AUROC with its 95 % interval, and the rank correlation of scores."""
    import pandas as pd

    from mia_bench.execution.single_run import run
    from mia_bench.metrics.summary import paired_difference

    common = (f"attack=[{','.join(attacks)}]", "eval.base_rows=[]", *overrides)
    full, reduced = run(*common), run(*common, f"eval.dtype={dtype}")
    rows = {}
    for name in attacks:
        tables = [
            pd.read_parquet(runs[name][1] / layout.SCORES_FILE).query("~calibration")
            for runs in (full, reduced)
        ]
        a, b = (table.score.to_numpy() for table in tables)
        group, member = tables[0].group.tolist(), tables[0].is_member.to_numpy()
        change = paired_difference(b, a, member, group, 0)["auroc"]
        rows[name] = {
            "float32": full[name][0]["auroc"]["value"],
            "change": change["value"],
            "lo": change["lo"],
            "hi": change["hi"],
            "rank_correlation": rank_correlation(a, b),
        }
    return rows


def rank_correlation(a: npt.NDArray[np.float64], b: npt.NDArray[np.float64]) -> float:
    """Spearman's."""
    from scipy.stats import spearmanr

    return float(spearmanr(a, b).statistic)


COMMAND = Command(
    "",
    "mia_bench.bench.precision",
    __doc__,
    positional=Positional("DTYPE", "to compare with float32", DTYPES, ("bfloat16", "float16")),
    overrides=True,
    examples=("python -m mia_bench.bench.precision bfloat16 'attack=[clid,loss]'",),
)


def main(words: Sequence[str] | None = None) -> None:
    run_command(COMMAND, measure, words)


def measure(words: Sequence[str]) -> None:
    """Drift in every dtype among `words`, the others being overrides; stored and printed."""
    arguments = parse(COMMAND, words)
    overrides = arguments.overrides
    attack_words = [word for word in overrides if word.startswith("attack=")]
    names = attack_words[-1].removeprefix("attack=") if attack_words else ""
    attacks = names.strip("[]").split(",") if names else ATTACKS
    for dtype in arguments.words:
        rows = drift(dtype, attacks, [word for word in overrides if word not in attack_words])
        add_figures("precision", {f"precision.{dtype}.{name}": row for name, row in rows.items()})
        results_page.write_page()
        for name, row in rows.items():
            echo(
                f"{dtype} {name:<10} {row['float32']:.3f} {row['change']:+.4f} "
                f"[{row['lo']:+.4f}, {row['hi']:+.4f}], rank correlation "
                f"{row['rank_correlation']:.4f}"
            )


if __name__ == "__main__":
    main()
