"""Peak memory of the predict step of each attack: one batch on the tiny model, a process each.

`python -m mia_bench.bench.memory ATTACK` prints the peak in bytes; without an attack, that of the
bare U-Net on as many rows, which every attack needs at least.
"""

from __future__ import annotations

import subprocess
import sys

ROWS = 32  # eval.batch_size

ATTACKS = (
    *("loss", "mc", "clid", "clid_importance", "noise_agg", "pia", "pian", "secmi", "secmi_nns"),
    *("pfami", "sima", "rediffuse", "drc", "drc_full", "gradient_masking", "gsa", "gsa2"),
)


def peaks() -> dict[str, int]:
    """Bytes of `bare` and of every attack."""
    return {"bare": _of()} | {name: _of(name) for name in ATTACKS}


def _of(*name: str) -> int:
    words = [sys.executable, "-m", "mia_bench.bench.memory", *name]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    return int(done.stdout.splitlines()[-1])


def main(name: str | None = None) -> None:
    from mia_bench.bench.bare import loop
    from mia_bench.bench.overhead import scoring
    from mia_bench.bench.subjects import tiny
    from mia_bench.utils.memory import peak_of_process

    subject = tiny(ROWS)
    work = scoring(subject, name) if name else loop(subject, ROWS, subject.target.chunk)
    work()
    print(peak_of_process())


if __name__ == "__main__":
    main(*sys.argv[1:])
