"""`python -m mia_bench.dashboard`: a W&B workspace and a W&B report of the finished runs."""

from __future__ import annotations

from collections.abc import Sequence

from mia_bench.config.arguments import run_command
from mia_bench.config.command_spec import Command
from mia_bench.storage import layout
from mia_bench.tracking.options import WANDB_OPTIONS, options_of
from mia_bench.utils.errors import MiaError
from mia_bench.utils.terminal import echo

COMMAND = Command(
    "dashboard",
    "mia_bench.dashboard",
    __doc__,
    WANDB_OPTIONS,
    examples=("mia-bench dashboard entity=my-team", "mia-bench dashboard wandb=offline"),
)


def main(words: Sequence[str] | None = None) -> None:
    run_command(COMMAND, run, words)


def run(words: Sequence[str]) -> None:
    """Build both; save them on W&B when there is a key, else beside the local reports."""
    options = options_of(COMMAND, words)
    from mia_bench.storage.files import write_json
    from mia_bench.tracking.dashboard import as_json, build_report, build_workspace, save
    from mia_bench.tracking.mirror import has_key
    from mia_bench.tracking.sync import entries

    records = [entry for entry in entries(options.outputs) if entry.job_type == "attack"]
    if not records:
        raise MiaError(f"{options.outputs} holds no finished run to show.")
    workspace, report = (
        build_workspace(records, options.logger),
        build_report(records, options.logger),
    )
    if not has_key() or options.logger.wandb == "offline":
        folder = layout.report_folder(options.outputs, layout.DASHBOARD_FOLDER)
        folder.mkdir(parents=True, exist_ok=True)
        for name, built in (("workspace", workspace), ("report", report)):
            write_json(folder / f"{name}.json", as_json(built))
        echo(f"W&B: no API key, so nothing was sent; what would be is in {folder}")
        return
    if options.logger.entity is None:
        raise MiaError("a dashboard belongs to a team or user: add entity=NAME.")
    for kind, url in save(workspace, report, options.outputs).items():
        echo(f"{kind}: {url}")


if __name__ == "__main__":
    main()
