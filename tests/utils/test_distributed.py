"""Which rank a process is, as launchers tell it."""

from __future__ import annotations

import pytest

from mia_bench.utils.distributed import global_rank, local_rank


@pytest.fixture(autouse=True)
def _alone(monkeypatch: pytest.MonkeyPatch) -> None:
    slurm = ("SLURM_PROCID", "SLURM_LOCALID", "SLURM_NTASKS", "SLURM_JOB_NAME")
    for name in ("RANK", "LOCAL_RANK", *slurm):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    ("variables", "rank"),
    [
        ({}, 0),
        ({"RANK": "3"}, 3),
        ({"LOCAL_RANK": "1"}, 1),
        ({"SLURM_NTASKS": "4", "SLURM_PROCID": "2", "LOCAL_RANK": "0"}, 2),
        ({"SLURM_PROCID": "0", "LOCAL_RANK": "1"}, 1),  # an allocation: Lightning starts ranks
        ({"SLURM_NTASKS": "4", "SLURM_JOB_NAME": "bash", "LOCAL_RANK": "1"}, 1),
        ({"RANK": ""}, 0),
    ],
)
def test_rank_as_launchers_set_it(
    variables: dict[str, str], rank: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert global_rank() == rank


def test_the_rank_on_a_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    assert local_rank() == 0
    monkeypatch.setenv("SLURM_LOCALID", "0")
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert local_rank() == 1
    monkeypatch.setenv("SLURM_NTASKS", "16")
    assert local_rank() == 1  # torchrun inside a task of srun
    monkeypatch.delenv("LOCAL_RANK")
    monkeypatch.setenv("SLURM_LOCALID", "3")
    assert local_rank() == 3
