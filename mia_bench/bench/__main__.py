"""`python -m mia_bench.bench [part ...]`: measure, print a table, keep docs/benchmarks.json.

Parts: bare overhead sharing literal training growth start large. `large` takes a U-Net of 860 M
parameters (4 GB of memory, minutes on a CPU). Nothing else should run meanwhile.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from mia_bench.bench.clock import Ratio
from mia_bench.bench.parts import PARTS, Figures

OUT = Path("docs/benchmarks.json")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("parts", nargs="*", choices=[[], *PARTS], default=list(PARTS))
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--out", type=Path, default=OUT)
    args = parser.parse_args()
    kept: Figures = json.loads(args.out.read_text()) if args.out.exists() else {}
    for part in args.parts:
        with quietly():
            found = PARTS[part](args.rounds)
        for name, value in found.items():
            kept[name] = to_json(value)
        show(part, found)
    kept["machine"] = machine()
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(json.dumps(kept, indent=2, sort_keys=True) + "\n")
    print(f"figures: {args.out}")


def to_json(value: Any) -> Any:
    if isinstance(value, Ratio):
        return {"value": round(value.value, 4), "lo": round(value.lo, 4), "hi": round(value.hi, 4)}
    return round(value, 4)


def show(part: str, found: Figures) -> None:
    table = Table("figure", "value", "middle half of rounds", title=part, title_justify="left")
    for name, value in found.items():
        if isinstance(value, Ratio):
            table.add_row(name, f"{value.value:.3f}", f"{value.lo:.3f} to {value.hi:.3f}")
        else:
            table.add_row(name, f"{value:.4g}", "")
    Console(highlight=False).print(table)


def machine() -> dict[str, Any]:
    import torch

    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    return {
        "processor": platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "gpu": gpu,
        "torch": torch.__version__,
    }


@contextmanager
def quietly() -> Iterator[None]:
    """Without the trainer's greetings and bars, which would be printed a hundred times."""
    from contextlib import redirect_stderr

    from mia_bench.quiet import hush

    hush()
    with Path(os.devnull).open("w") as nowhere, redirect_stderr(nowhere):
        yield


if __name__ == "__main__":
    main()
