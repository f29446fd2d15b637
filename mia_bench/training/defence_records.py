"""What defences report of a fine-tune: rows dropped, and how often a proxy attacker was right."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torchmetrics import MeanMetric, SumMetric

DROPPED, ACCURACY = "dropped_share", "proxy_accuracy"  # columns of train.csv


class DefenceRecords(nn.Module):
    """Means over steps, kept in checkpoints, so that a resumed fine-tune reports all of them."""

    def __init__(self, filters: bool, proxy: bool) -> None:
        super().__init__()
        names = [*([DROPPED] if filters else []), *([ACCURACY] if proxy else [])]
        self.recent = nn.ModuleDict({name: MeanMetric() for name in names})
        self.overall = nn.ModuleDict()
        if filters:
            self.overall.update({"dropped": MeanMetric(), "without_rows": SumMetric()})
        for metric in (*self.recent.values(), *self.overall.values()):
            metric.persistent(True)  # type: ignore[operator]

    def rows_kept(self, kept: Tensor) -> None:
        """Of one step: (B,) booleans."""
        share = 1 - kept.float().mean()
        for metric in (self.recent[DROPPED], self.overall["dropped"]):
            metric.update(share)  # type: ignore[operator]
        self.overall["without_rows"].update((~kept.any()).float())  # type: ignore[operator]

    def proxy_was_right(self, accuracy: float) -> None:
        metric = self.recent[ACCURACY]
        assert isinstance(metric, MeanMetric)
        metric.update(torch.tensor(accuracy, device=metric.device))

    def since_validation(self) -> dict[str, float]:
        """Means since the last call, as columns of the history."""
        row = {}
        for name, metric in self.recent.items():
            assert isinstance(metric, MeanMetric)
            row[name] = float(metric.compute()) if metric.update_called else 0.0
            metric.reset()
        return row

    def dropped_rows(self) -> dict[str, float]:
        """The share of rows dropped over all steps, and the number of steps that kept none."""
        share, steps = (float(metric.compute()) for metric in self.overall.values())  # type: ignore[operator]
        return {"share": round(share, 6), "steps_without_rows": int(steps)}
