"""`python -m mia_bench`: what the console script `mia-bench` does."""

from __future__ import annotations

from mia_bench.cli.dispatch import main

main()
