"""What can be known before a model is loaded: one clear message for a run that cannot end well.

Every error is a MiaError that says what to change. No picture and no weights are read.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import numpy.typing as npt

from mia_bench.attacks import FitsClassifier, HasRequirements, NeedsCaptions
from mia_bench.planning.plan import Plan
from mia_bench.planning.specs import EVALUATION_ROLES, SHADOW_ROLES
from mia_bench.storage.artifacts import is_complete
from mia_bench.utils.errors import MiaError

MIN_ROWS_PER_CLASS = (
    2  # rows of each class that scaling, folds and thresholds need, whatever the attack
)
WITHOUT_CAPTIONS = ("loss", "pia", "sima", "noise_agg_null")


def precheck(plan: Plan) -> None:
    """Schedule, image size, captions and calibration rows against every attack of the plan."""
    check_demands(plan)
    check_captions(plan)
    check_rows(plan)


def fetch(plan: Plan) -> None:
    """What unanswered questions and controls need from outside is here, or is fetched now."""
    for run in plan.runs:
        waiting = not run.ready and not all(asked.ready for asked in run.feature_specs())
        if waiting and isinstance(run.attack, HasRequirements):
            with naming(run.name):
                run.attack.fetch()
    encoder = plan.experiment.options.eval.blind_encoder
    if encoder is not None and plan.blind is not None and not is_complete(plan.blind):
        from mia_bench.attacks.components.image_similarity import fetch_open_clip

        fetch_open_clip(encoder)


def check_demands(plan: Plan) -> None:
    """Timesteps lie in the model's schedule, and options fit its size, where the model is here."""
    if plan.absent:
        return
    model = plan.experiment.model
    schedule = model.timesteps()
    for name, attack in plan.experiment.attacks.items():
        with naming(name):
            outside = [t for t in attack.asks_at(schedule) if not 0 <= t < schedule]
            if outside:
                raise MiaError(
                    f"timestep {outside[0]} is outside the schedule of {schedule} steps. Change "
                    f"attack.{name} to fit it."
                )
            if isinstance(attack, HasRequirements):
                attack.check(schedule, model.resolution)


def check_captions(plan: Plan) -> None:
    """Attacks that compare captions have some to compare."""
    attacks = plan.experiment.attacks
    needing = [n for n, a in attacks.items() if isinstance(a, NeedsCaptions) and a.needs_captions]
    rows = plan.rows(*EVALUATION_ROLES)
    if not needing or any(plan.items[sid].caption.strip() for sid in rows):
        return
    others = [name for name in attacks if name not in needing] or WITHOUT_CAPTIONS
    raise MiaError(
        f"attack {', '.join(needing)}: captions are needed, and none of the {len(rows)} rows of "
        f"{plan.split.source} to be scored has one. Use data with captions, or attacks that do "
        f"without: 'attack=[{','.join(others)}]'."
    )


def check_rows(plan: Plan) -> None:
    """Every out-of-fold fit of a classifier has the rows it needs."""
    fewest = _fewest_rows(plan)
    for name, attack in plan.experiment.attacks.items():
        least = max(
            MIN_ROWS_PER_CLASS, attack.least_rows if isinstance(attack, FitsClassifier) else 0
        )
        if fewest < least:
            raise MiaError(
                f"attack {name}: fewer calibration rows than it needs. {least} members and as many "
                f"non-members must be left when one of calibration.folds="
                f"{plan.experiment.options.calibration.folds} is kept back, and only {fewest} are. "
                f"Use larger data.sizes for the {'shadow' if plan.shadow else 'target'} roles, or "
                "more folds."
            )


def _fewest_rows(plan: Plan) -> int:
    """Rows of the rarer class in the poorest out-of-fold calibration, as scoring will form them."""
    from mia_bench.metrics.group_folds import calibrating, folds_of

    options = plan.experiment.options
    roles = SHADOW_ROLES if plan.shadow else EVALUATION_ROLES
    rows = [row for row in plan.split.table if row.role in roles]
    is_member = np.array([row.role == roles[0] for row in rows])
    group = np.array([row.group for row in rows])
    if plan.shadow is None:
        known = calibrating(group, options.data.split_seed)
        is_member, group = is_member[known], group[known]
    fold = folds_of(group, options.calibration.folds, options.eval.seed)
    return min((_rarer(is_member[fold != k]) for k in np.unique(fold)), default=0)


def _rarer(is_member: npt.NDArray[np.bool_]) -> int:
    return int(min(is_member.sum(), (~is_member).sum()))


@contextmanager
def naming(attack: str) -> Iterator[None]:
    """Errors of an attack carry its name."""
    try:
        yield
    except MiaError as error:
        raise MiaError(f"attack {attack}: {error}") from error
