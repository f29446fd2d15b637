"""`python -m mia_bench`."""

from __future__ import annotations

from mia_bench.cli.run import main

main()
