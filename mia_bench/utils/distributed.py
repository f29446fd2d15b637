"""Processes of one run: which of them this is, and how they wait for each other."""

from __future__ import annotations

import os


def global_rank() -> int:
    """Rank of this process as its launcher set it (torchrun, Slurm, Lightning's own)."""
    return _first_of("RANK", *(("SLURM_PROCID",) if _by_srun() else ()), "LOCAL_RANK")


def local_rank() -> int:
    """The same among the processes of this machine."""
    return _first_of("LOCAL_RANK", *(("SLURM_LOCALID",) if _by_srun() else ()))


def _by_srun() -> bool:
    """Whether Slurm started every rank, as Lightning asks: inside an allocation it starts them."""
    interactive = os.environ.get("SLURM_JOB_NAME") in ("bash", "interactive")
    return "SLURM_NTASKS" in os.environ and not interactive


def _first_of(*names: str) -> int:
    numbers = (os.environ.get(name, "") for name in names)
    return next((int(number) for number in numbers if number.isdigit()), 0)
