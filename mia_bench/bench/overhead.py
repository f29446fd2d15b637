"""An attack's time over the bare loop's, for the same number of U-Net evaluations."""

from __future__ import annotations

from collections.abc import Callable

import torch

from mia_bench.attacks import Access
from mia_bench.bench.bare import loop
from mia_bench.bench.clock import Ratio, ratio
from mia_bench.bench.subjects import Workload, attack

ATTACKS = ("clid", "noise_agg", "pia", "secmi", "loss")


def overhead(subject: Workload, name: str, rounds: int, chunk: int, warm: int = 1) -> Ratio:
    """Wall time of `name` on the batch over that of as many bare evaluations in calls of `chunk`.

    Of a `cached()` subject latents and captions are there; of others both are encoded each time.
    The attack runs once more, unmeasured, to count its evaluations.
    """
    run, target = scoring(subject, name), subject.target
    before = target.queries["forward"]
    run()
    evaluations = target.queries["forward"] - before
    return ratio(run, loop(subject, evaluations, chunk), rounds, warm)


def scoring(subject: Workload, name: str) -> Callable[[], None]:
    """The predict step's work for one attack on the batch, up to writing the features down."""
    asked, target = attack(name), subject.target

    def run() -> None:
        target.forget()
        with torch.set_grad_enabled(asked.access is Access.WHITE_BOX):
            features = asked.features(target, subject.batch)
        for values in features.values():
            values.detach().float().cpu().numpy()

    return run
