"""Sweeps on a real Slurm and on Ray, on this machine: `make test-slurm`, `make test-ray`."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow
CELLS = ("attack=loss", "seed=0,1", "eval.base_rows=[]", "eval.blind_rows=false")
DAEMONS = ("munged", "slurmctld", "slurmd")
SLURM_CONF = """\
ClusterName=one
SlurmctldHost=localhost(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ReturnToService=2
NodeName=localhost NodeAddr=127.0.0.1 CPUs=2 State=UNKNOWN
PartitionName=all Nodes=localhost Default=YES MaxTime=INFINITE State=UP
"""


def absent_slurm() -> str:
    """Why there is no Slurm here, or nothing."""
    lacking = [name for name in (*DAEMONS, "sinfo", "sbatch") if shutil.which(name) is None]
    if lacking:
        return f"not installed: {', '.join(lacking)} (Debian: slurm-wlm, munge)"
    return "" if os.geteuid() == 0 else "a Slurm of one's own needs root"


@pytest.fixture
def slurm(tmp_path, monkeypatch) -> Iterator[None]:
    """A Slurm of one node with two CPUs, ended by the ids of its processes afterwards."""
    for name in ("state", "spool"):
        (tmp_path / name).mkdir()
    key, socket = tmp_path / "munge.key", tmp_path / "munge.socket"
    key.write_bytes(os.urandom(1024))
    key.chmod(0o600)
    conf = tmp_path / "slurm.conf"
    conf.write_text(SLURM_CONF.format(folder=tmp_path))
    monkeypatch.setenv("SLURM_CONF", str(conf))
    munge = [f"--key-file={key}", f"--socket={socket}", f"--pid-file={tmp_path / 'munged.pid'}"]
    munge += [f"--log-file={tmp_path / 'munged.log'}", f"--seed-file={tmp_path / 'seed'}"]
    commands = [
        ["munged", "--foreground", "--force", *munge],
        ["slurmctld", "-D", "-f", str(conf)],
        ["slurmd", "-D", "-f", str(conf), "-N", "localhost"],
    ]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    daemons = []
    for command in commands:
        daemons.append(subprocess.Popen(command, **quiet))  # type: ignore[call-overload]
        time.sleep(2)
    try:
        _wait_until_idle()
        yield
    finally:
        for daemon in reversed(daemons):
            daemon.terminate()
            daemon.wait(30)


def _wait_until_idle(seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        shown = subprocess.run(["sinfo", "-h", "-o", "%T"], capture_output=True, text=True)
        if shown.stdout.strip() == "idle":
            return
        time.sleep(1)
    raise AssertionError(f"the node is not idle after {seconds} s: {shown.stdout}{shown.stderr}")


def sweep(run_python, small_overrides, outputs: Path, *words: str) -> str:
    command = ("-m", "mia_bench", "-m", *small_overrides, *CELLS, f"paths.outputs={outputs}")
    done = run_python(*command, *words)
    metrics = list(outputs.glob("runs/*/*/*/metrics.json"))
    assert len(metrics) == 2
    return str(done.stdout)


@pytest.mark.skipif(bool(absent_slurm()), reason=absent_slurm() or "a Slurm is here")
@pytest.mark.usefixtures("slurm")
def test_slurm_runs_every_cell(run_python, small_overrides, tmp_path):
    words = ("hydra/launcher=slurm", "hydra.launcher.gpus_per_node=null")
    sweep(run_python, small_overrides, tmp_path / "outputs", *words)


def absent_ray() -> str:
    """Why there is no Ray here, or nothing."""
    if importlib.util.find_spec("ray") is None:
        return "ray is not installed: pip install 'mia_bench[ray]' in an environment of its own"
    if importlib.util.find_spec("hydra_plugins.hydra_ray_launcher") is None:
        return "hydra-ray-launcher is not installed"
    return ""


@pytest.mark.skipif(bool(absent_ray()), reason=absent_ray() or "Ray is here")
def test_ray_runs_every_cell(run_python, small_overrides, tmp_path):
    words = ("hydra/launcher=ray_cluster",)
    sweep(run_python, small_overrides, tmp_path / "outputs", *words)
