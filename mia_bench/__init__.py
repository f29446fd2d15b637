"""Benchmark of membership-inference attacks on text-to-image diffusion models.

`from mia_bench import compose, run` is the command line from Python, for notebooks and scripts.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mia_bench.execution.single_run import run
    from mia_bench.planning.experiment import compose

__all__ = ["compose", "run"]


def __getattr__(name: str) -> Any:
    """Both are imported when they are used: `import mia_bench` is light."""
    if name == "compose":
        from mia_bench.planning.experiment import compose

        return compose
    if name == "run":
        from mia_bench.execution.single_run import run

        return run
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
