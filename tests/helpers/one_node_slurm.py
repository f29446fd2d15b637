"""A Slurm of one node on 127.0.0.1, for tests: its daemons are ended by their process ids."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

DAEMONS = ("munged", "slurmctld", "slurmd")
CLIENTS = ("sinfo", "sbatch", "squeue", "scancel", "scontrol", "srun")
START_SECONDS = 60.0
CONFIGURATION = """\
ClusterName=one
SlurmctldHost=localhost(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerParameters=sched_min_interval=100000,batch_sched_delay=0
KillWait=2
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
    lacking = [name for name in (*DAEMONS, *CLIENTS) if shutil.which(name) is None]
    if lacking:
        return f"not installed: {', '.join(lacking)} (Debian: slurm-wlm, munge)"
    return "" if os.geteuid() == 0 else "a Slurm of one's own needs root"


@contextmanager
def one_node(folder: Path) -> Iterator[dict[str, str]]:
    """A node of two CPUs without accounting; yields the environment that its clients need."""
    for name in ("state", "spool"):
        (folder / name).mkdir(parents=True)
    key, socket = folder / "munge.key", folder / "munge.socket"
    key.write_bytes(os.urandom(1024))
    key.chmod(0o600)
    configuration = folder / "slurm.conf"
    configuration.write_text(CONFIGURATION.format(folder=folder))
    env = {"SLURM_CONF": str(configuration)}
    munge = [f"--key-file={key}", f"--socket={socket}", f"--pid-file={folder / 'munged.pid'}"]
    munge += [f"--log-file={folder / 'munged.log'}", f"--seed-file={folder / 'seed'}"]
    commands = [
        ["munged", "--foreground", "--force", *munge],
        ["slurmctld", "-D", "-f", str(configuration)],
        ["slurmd", "-D", "-f", str(configuration), "-N", "localhost"],
    ]
    daemons: list[subprocess.Popen[bytes]] = []
    try:
        for command in commands:
            daemons.append(_start(command, env))
            if command[0] == "munged":
                _wait(socket.exists, "munged has no socket")
        _wait(lambda: client(env, "sinfo", "-h", "-o", "%T") == "idle", "the node is not idle")
        yield env
        client(env, "scancel", "--user=root")
        _wait(lambda: not client(env, "squeue", "-h"), "jobs do not end")
    finally:
        for daemon in reversed(daemons):
            daemon.terminate()
            daemon.wait(30)


def client(env: dict[str, str], *words: str) -> str:
    """What one of Slurm's commands printed; nothing where it failed."""
    return subprocess.run(
        words, env={**os.environ, **env}, capture_output=True, text=True
    ).stdout.strip()


def _start(command: Sequence[str], env: dict[str, str]) -> subprocess.Popen[bytes]:
    quiet = subprocess.DEVNULL
    return subprocess.Popen(command, env={**os.environ, **env}, stdout=quiet, stderr=quiet)


def _wait(condition, otherwise: str) -> None:
    end = time.monotonic() + START_SECONDS
    while not condition():
        if time.monotonic() > end:
            raise AssertionError(f"{otherwise} after {START_SECONDS:.0f} s")
        time.sleep(0.2)
