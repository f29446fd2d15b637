"""W&B: a mirror of what is on disk, one W&B run per run, model and report. It never stops a run.

A run's id is the key of what it shows, so sending it twice cannot make two. What was sent, and from
which state of the folder, is noted in outputs/wandb/mirrored/.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from filelock import FileLock

from mia_bench.config.schema import LoggerOptions
from mia_bench.storage import layout
from mia_bench.storage.files import write_json
from mia_bench.storage.hashing import hash_key
from mia_bench.storage.index import run_at
from mia_bench.storage.stored_files import Unreadable, read_object
from mia_bench.tracking.records import WandbRecord, attack_record, finetune_record, report_record
from mia_bench.utils.errors import MiaError
from mia_bench.utils.terminal import echo

if TYPE_CHECKING:
    from wandb import Run

    from mia_bench.planning.plan import Plan


MODES = ("online", "offline", "disabled")
FINISH_SECONDS = 120.0
_unreachable: list[str] = []
"""Why this process stopped sending: one time-out is enough."""


def mode_of(options: LoggerOptions) -> str:
    """The mode to use: offline, with a message, when online is asked for and there is no key.

    Raises:
        MiaError: `logger.wandb` is none of online, offline, disabled.
    """
    if options.wandb not in MODES:
        raise MiaError(f"logger.wandb={options.wandb}: use one of {', '.join(MODES)}.")
    if options.wandb == "online" and not has_key():
        _say_offline()
        return "offline"
    return options.wandb


def has_key() -> bool:
    """An API key in the environment or in netrc; its value is read by W&B alone."""
    netrc = Path(os.environ.get("NETRC", "~/.netrc")).expanduser()
    return bool(os.environ.get("WANDB_API_KEY")) or netrc.exists()


@cache
def _say_offline() -> None:
    echo(
        "W&B: no API key (WANDB_API_KEY or `wandb login`), so runs are recorded offline; "
        "`mia-bench sync` sends them later."
    )


def mirror_plan(plan: Plan) -> None:
    """The models and runs of a finished plan."""
    options = plan.experiment.options.logger
    if options.wandb == "disabled":
        return
    with _never_fatal():
        models = [finetune_record(spec.folder, plan.outputs) for spec in plan.trained]
        runs = [attack_record(run_at(folder)) for _, folder in plan.table]
        mirror_all([*models, *runs], plan.outputs, options)


def mirror_reports(targets: Iterable[str], outputs: Path, options: LoggerOptions) -> None:
    """All runs of each target side by side, once the run or the whole sweep is over."""
    if options.wandb == "disabled":
        return
    with _never_fatal():
        reports = [report_record(target, outputs) for target in dict.fromkeys(targets)]
        mirror_all(reports, outputs, options)


def mirror_all(
    entries: Iterable[WandbRecord], outputs: Path, options: LoggerOptions, again: bool = False
) -> tuple[int, int]:
    """Send what is not mirrored in its present state; (sent, not sent because of an error)."""
    mode = mode_of(options)
    sent = failed = 0
    for entry in entries:
        with _alone(entry, outputs, options):
            if again or not is_current(entry, outputs, options):
                done = mirror(entry, outputs, options, mode)
                sent, failed = sent + done, failed + (not done)
    return sent, failed


@contextmanager
def _never_fatal() -> Iterator[None]:
    try:
        yield
    except Exception as error:  # the run is finished and on disk, whatever went wrong here
        _give_up(f"{type(error).__name__}: {error}")


@contextmanager
def _alone(entry: WandbRecord, outputs: Path, options: LoggerOptions) -> Iterator[None]:
    """Parallel jobs share a target: one of them sends it, and the others find it sent."""
    path = _marker(entry, outputs, options).with_suffix(layout.LOCK_SUFFIX)
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(path):
        yield


def mirror(entry: WandbRecord, outputs: Path, options: LoggerOptions, mode: str) -> bool:
    """Send one run; True when it was recorded. A failure is a message, never an exception."""
    if mode == "disabled" or _unreachable:
        return False
    problem = _no_route() if mode == "online" else None
    if problem is not None:
        return _give_up(problem)
    try:
        offline = _record(entry, entry.load(), outputs, options, mode)
        _note(entry, outputs, options, mode, offline)
    except Unreadable as error:  # this record alone; the server has nothing to do with it
        echo(f"not sent to W&B: {entry.folder}: {error}", error=True)
        return False
    except Exception as error:
        return _give_up(f"{type(error).__name__}: {error}")
    return True


def _record(
    entry: WandbRecord,
    log: Callable[[Run], None],
    outputs: Path,
    options: LoggerOptions,
    mode: str,
) -> str:
    """Send one record, its content by `log`; the name of an offline run's folder, else nothing."""
    import wandb

    wanted = {
        "silent": True,
        "console": "off",
        "init_timeout": 30.0,
        "disable_code": True,
        # what W&B would collect by itself: host, user, git remote, packages, load of the machine
        "disable_git": True,
        "x_disable_meta": True,
        "x_disable_machine_info": True,
        "x_disable_stats": True,
        "x_save_requirements": False,
        "finish_timeout": FINISH_SECONDS,
        "finish_timeout_raises": True,
    }
    settings: dict[str, Any] = {k: v for k, v in wanted.items() if k in wandb.Settings.model_fields}
    run = None
    try:
        run = wandb.init(
            project=options.project,
            entity=options.entity,
            id=entry.id,
            name=entry.name,
            group=entry.group,
            job_type=entry.job_type,
            tags=list(entry.tags),
            config=entry.config,
            dir=str(outputs),
            mode=mode,  # type: ignore[arg-type]
            resume="allow",
            settings=wandb.Settings(**settings),
        )
        # A run that was sent before keeps its history: only what may change is replaced.
        if dict(run.summary).get("mirrored") != entry.signature:
            log(run)
        run.summary.update({**entry.summary, "mirrored": entry.signature})
        return Path(run.dir).parent.name if mode == "offline" else ""
    finally:
        if run is not None:
            run.finish()


def _note(
    entry: WandbRecord, outputs: Path, options: LoggerOptions, mode: str, offline: str
) -> None:
    path = _marker(entry, outputs, options)
    path.parent.mkdir(parents=True, exist_ok=True)
    about = {"folder": entry.folder, "signature": entry.signature, "mode": mode}
    write_json(path, about | {"project": options.project, "entity": options.entity, "run": offline})


def is_current(entry: WandbRecord, outputs: Path, options: LoggerOptions) -> bool:
    """It was sent in its present state, at least as far as `options` ask for: online or on disk."""
    try:
        noted = read_object(_marker(entry, outputs, options))
    except Unreadable:
        return False
    online = options.wandb == "online" and has_key()
    return noted.get("signature") == entry.signature and (
        noted.get("mode") == "online" or not online
    )


def is_mirrored(plan: Plan) -> bool:
    options = plan.experiment.options.logger
    entries = [attack_record(run_at(folder)) for _, folder in plan.table]
    return all(is_current(entry, plan.outputs, options) for entry in entries)


def _marker(entry: WandbRecord, outputs: Path, options: LoggerOptions) -> Path:
    """One per run and project."""
    where = hash_key([options.entity, options.project])[:8]
    return layout.mirror_marker(outputs, entry.id, where)


def _no_route(seconds: float = 5.0) -> str | None:
    """Why the server cannot be reached. W&B itself would go on trying for many minutes."""
    if any(os.environ.get(name) for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY")):
        return None
    url = urlsplit(os.environ.get("WANDB_BASE_URL", "https://api.wandb.ai"))
    port = url.port or (80 if url.scheme == "http" else 443)
    try:
        socket.create_connection((url.hostname or "", port), timeout=seconds).close()
    except OSError as error:
        return f"{url.hostname}:{port} cannot be reached ({error})"
    return None


def _give_up(problem: str) -> bool:
    _unreachable.append(problem)
    echo(
        f"W&B: {problem}. Nothing is lost: the local files are the record, and `python -m "
        "mia_bench.sync` sends them later.",
        error=True,
    )
    return False
