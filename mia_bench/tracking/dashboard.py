"""`python -m mia_bench.dashboard entity=TEAM [project=mia_bench] [paths.outputs=outputs]`

Builds a W&B workspace and a report as code: attacks x data sets, ROC overlays, trajectories over
fine-tuning, mitigations. Again updates the same two instead of adding others. Without a key both
are written to outputs/reports/dashboard/ as JSON and nothing is sent.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mia_bench.config.schema import LoggerOptions
from mia_bench.metrics.registry import METRICS
from mia_bench.storage import layout
from mia_bench.storage.files import read_json, write_json
from mia_bench.tracking.records import WandbRecord, table_names
from mia_bench.utils.errors import MiaError

if TYPE_CHECKING:
    from wandb_workspaces.reports.v2 import Report
    from wandb_workspaces.workspaces import Workspace


NAME = "mia_bench"
LIMITS = (
    "AUC of members against non-members; 0.5 is chance. Where several runs of a kind exist, mean "
    "and range over them (seeds, checkpoints, models). Intervals of single runs are in their "
    "summaries."
)


def build_workspace(records: Sequence[WandbRecord], options: LoggerOptions) -> Workspace:
    """One section per question; panels read the stable names that the mirror logs."""
    ws, wr = _libraries()
    sections = [
        ws.Section(name="Attacks x data sets", panels=_matrix_panels(wr, records), is_open=True),
        ws.Section(name="ROC", panels=_roc_panels(wr), is_open=True),
        ws.Section(name="Trajectories", panels=_trajectory_panels(wr)),
        ws.Section(name="Mitigations", panels=_mitigation_panels(wr)),
        ws.Section(name="Pictures", panels=_picture_panels(wr)),
    ]
    attack = ws.Metric("JobType") == "attack"
    columns = [f"summary:{name}" for name in table_names()]
    built: Workspace = ws.Workspace(
        entity=options.entity or "",
        project=options.project,
        name=NAME,
        sections=sections,
        runset_settings=ws.RunsetSettings(
            filters=[attack], pinned_columns=["run:displayName", *columns]
        ),
    )
    return built


def build_report(records: Sequence[WandbRecord], options: LoggerOptions) -> Report:
    """The same panels with a runset per data set, and the matrix as a table."""
    _, wr = _libraries()

    def grid(panels: Sequence[Any], name: str, filters: str) -> Any:
        runs = wr.Runset(name=name, filters=filters)  # of the report's own project
        return wr.PanelGrid(runsets=[runs], panels=list(panels))

    attack, model = "JobType = 'attack'", "JobType = 'finetune'"
    blocks: list[Any] = [
        wr.P(LIMITS),
        wr.H2("Attacks x data sets"),
        wr.MarkdownBlock(text=matrix(records)),
    ]
    for data in sorted({_name(entry, "data_name") for entry in records}):
        only = f"{attack} and Config('data_name') = '{data}'"
        blocks += [wr.H2(f"ROC on {data}"), grid(_roc_panels(wr), data, only)]
    blocks += [
        wr.H2("Trajectories over fine-tuning"),
        grid(_curve_panels(wr), "models", model),
        grid(_trajectory_panels(wr)[:1], "attacks", attack),
        wr.H2("Mitigations"),
        grid(_mitigation_panels(wr), "attacks", attack),
        wr.H2("Pictures"),
        grid(_picture_panels(wr), "attacks", attack),
    ]
    built: Report = wr.Report(
        entity=options.entity or "",
        project=options.project,
        title="Membership inference",
        description=LIMITS,
        blocks=blocks,
        width="fluid",
    )
    return built


def matrix(records: Sequence[WandbRecord]) -> str:
    """Markdown table of attacks x data sets: mean AUC, with the range where there are several."""
    values: dict[tuple[str, str], list[float]] = defaultdict(list)
    for entry in records:
        key = _name(entry, "attack_name"), _name(entry, "data_name")
        values[key].append(entry.summary["auroc"])
    columns = sorted({data for _, data in values})
    lines = [f"| attack | {' | '.join(columns)} |", f"|---|{'---|' * len(columns)}"]
    for attack in sorted({attack for attack, _ in values}):
        shown = " | ".join(_spread(values.get((attack, data), ())) for data in columns)
        lines.append(f"| {attack} | {shown} |")
    return "\n".join(lines)


def save(workspace: Workspace, report: Report, outputs: Path) -> dict[str, str]:
    """Save both on W&B, over what was saved from these outputs before; their addresses."""
    ws, wr = _libraries()
    path = layout.dashboard_file(outputs)
    saved = read_json(path) if path.is_file() else {}
    where = [workspace.entity, workspace.project]
    if saved.get("where") == where:
        old = ws.Workspace.from_url(saved["workspace"])
        old.sections, old.runset_settings = workspace.sections, workspace.runset_settings
        before = wr.Report.from_url(saved["report"])
        before.blocks, before.description = report.blocks, report.description
        workspace, report = old, before
    workspace.save()
    report.save()
    urls = {"workspace": str(workspace.url), "report": str(report.url)}
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, {**urls, "where": where})
    return urls


def as_json(built: Any) -> dict[str, Any]:
    """What would be sent, as the library itself writes it."""
    spec: dict[str, Any] = json.loads(built._to_model().model_dump_json(by_alias=True))
    return spec


def _matrix_panels(wr: Any, records: Sequence[WandbRecord]) -> list[Any]:
    bars: dict[str, Any] = {"metrics": ["auroc"], "orientation": "h", "groupby_aggfunc": "mean"}
    bars |= {"groupby_rangefunc": "minmax", "range_x": (0, 1)}
    return [
        wr.MarkdownPanel(markdown=f"{LIMITS}\n\n{matrix(records)}"),
        wr.BarPlot(title="AUC by attack", groupby=wr.Config("attack_name"), **bars),
        wr.BarPlot(title="AUC by data set", groupby=wr.Config("data_name"), **bars),
        wr.ScatterPlot(
            title="AUC and cost",
            x=wr.SummaryMetric("nfe"),
            y=wr.SummaryMetric("auroc"),
            range_y=(0, 1),
        ),
    ]


def _roc_panels(wr: Any) -> list[Any]:
    common: dict[str, Any] = {"x": "roc_fpr", "y": ["roc_tpr"], "max_runs_to_show": 20}
    common |= {"title_x": "false positive rate", "title_y": "true positive rate"}
    return [
        wr.LinePlot(title="ROC", **common),
        wr.LinePlot(
            title="ROC, log-log",
            log_x=True,
            log_y=True,
            range_x=(1e-3, 1),
            range_y=(1e-3, 1),
            **common,
        ),
    ]


def _trajectory_panels(wr: Any) -> list[Any]:
    auc = wr.ScatterPlot(
        title="AUC over fine-tuning steps",
        x=wr.SummaryMetric("step"),
        y=wr.SummaryMetric("auroc"),
        range_y=(0, 1),
    )
    return [auc, *_curve_panels(wr)]


def _curve_panels(wr: Any) -> list[Any]:
    losses = ("val_member", "val_heldout")
    return [wr.LinePlot(title="member and held-out loss", x="step", y=list(losses))]


def _mitigation_panels(wr: Any) -> list[Any]:
    names = ("auroc", "tpr_at_fpr_0_01")
    return [
        wr.BarPlot(
            title=f"{METRICS[name].label} by mitigation",
            metrics=[name],
            orientation="h",
            groupby=wr.Config("mitigation_name"),
            groupby_aggfunc="mean",
            groupby_rangefunc="minmax",
        )
        for name in names
    ]


def _picture_panels(wr: Any) -> list[Any]:
    keys = ("evidence", "samples")
    return [wr.MediaBrowser(title=key, media_keys=[key], num_columns=4) for key in keys]


def _libraries() -> tuple[Any, Any]:
    try:
        import wandb_workspaces.reports.v2 as wr
        import wandb_workspaces.workspaces as ws
    except ImportError as error:
        raise MiaError(
            "dashboards need wandb-workspaces: pip install 'mia_bench[dashboards]'."
        ) from error
    return ws, wr


def _name(entry: WandbRecord, key: str) -> str:
    """A name that can stand in a table and in a filter: letters, digits and a few signs."""
    config: Mapping[str, Any] = entry.config
    return "".join(c if c.isalnum() or c in "._+-" else "_" for c in str(config.get(key, "none")))


def _spread(values: Sequence[float]) -> str:
    if not values:
        return ""
    mean = sum(values) / len(values)
    return f"{mean:.3f}" + (f" ({min(values):.3f}-{max(values):.3f})" if len(values) > 1 else "")
