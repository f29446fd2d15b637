"""Checks that need no model: one clear message for a run that could not end well.

Every error is a MiaError that says what to change. No image and no weights are read.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np

from mia_bench.attacks import (
    Access,
    Attack,
    FitsClassifier,
    HasRequirements,
    NeedsLatentSize,
    NeedsSignal,
)
from mia_bench.attacks.components.image_complexity import COVARIATES
from mia_bench.metrics.complexity import SPARE_ROWS
from mia_bench.models import TellsLatentSide, base_of, timesteps_with_signal
from mia_bench.planning.applicable import Attacks
from mia_bench.planning.caption_mitigations import check_training_captions
from mia_bench.planning.plan import Plan
from mia_bench.planning.specs import EVALUATION_ROLES, SHADOW_ROLES
from mia_bench.storage.artifacts import is_complete
from mia_bench.utils.errors import MiaError

if TYPE_CHECKING:
    from mia_bench.config.schema import Root
    from mia_bench.data.split.manifest import Split
    from mia_bench.models import Model

MIN_ROWS_PER_CLASS = 2  # scaling, folds and thresholds need them, whatever the attack


def precheck(plan: Plan) -> None:
    """Schedule, image size and calibration rows against every attack of the plan, and captions to
    train on against its mitigations."""
    experiment, options = plan.experiment, plan.experiment.options
    if not plan.absent:
        check_schedule(experiment.attacks, experiment.model)
        check_base(experiment.model)
    if options.eval.own_outputs:
        check_own_outputs(experiment.attacks, options.eval.access)
    kind = "shadow" if plan.shadow else "target"
    members, nonmembers = _fewest_rows(plan.split, kind, options)
    attacks = experiment.attacks
    if options.calibration.halves == "stratified":  # those that fit nothing need no such rows
        attacks = {name: attack for name, attack in attacks.items() if least_rows(attack)}
    check_rows(attacks, min(members, nonmembers), kind, options.calibration.folds)
    if options.eval.complexity:
        check_complexity(nonmembers, kind)
    for spec in plan.trained:
        if spec.setup is not None and spec.member is not None:
            check_training_captions(spec.setup, plan.items_of(plan.rows(spec.member)), spec.kind)


def check_complexity(fewest: int, kind: str) -> None:
    """Every out-of-fold line of `<attack>-complexity` has the rows it needs.

    Args:
        fewest: non-members that the poorest fit has.
        kind: the model that calibration rows belong to, "shadow" or "target".
    """
    needed = len(COVARIATES) + SPARE_ROWS
    if fewest < needed:
        raise MiaError(
            f"eval.complexity=true fits a line on calibration non-members, of which {needed} must "
            f"be left when a fold is kept back, and only {fewest} are. Use larger data.sizes for "
            f"the {kind} roles, or eval.complexity=false."
        )


def fetch(plan: Plan) -> None:
    """Fetch the weights that attacks and controls need and that are not here.

    Only for runs whose features are still to be extracted, and controls still to be computed.
    """
    for run in plan.runs:
        extracting = not run.ready and not all(spec.ready for spec in run.feature_specs())
        if extracting and isinstance(run.attack, HasRequirements):
            with naming(run.name):
                run.attack.fetch()
    encoder = plan.experiment.options.eval.blind_encoder
    if encoder is not None and plan.blind is not None and not is_complete(plan.blind):
        from mia_bench.attacks.components.image_similarity import fetch_open_clip

        fetch_open_clip(encoder)


def check_schedule(attacks: Attacks, model: Model) -> None:
    """Timesteps lie in the model's schedule, and options fit its size."""
    schedule, signal = model.timesteps(), timesteps_with_signal(model)
    for name, attack in attacks.items():
        with naming(name):
            outside = [t for t in attack.asks_at(schedule) if not 0 <= t < schedule]
            if outside:
                raise MiaError(
                    f"timestep {outside[0]} is outside the schedule of {schedule} steps. Change "
                    f"attack.{name} to fit it."
                )
            if isinstance(attack, NeedsSignal) and attack.needs_signal:
                _check_signal(name, attack, signal)
            if isinstance(attack, HasRequirements):
                attack.check(schedule, model.resolution)
            if isinstance(attack, NeedsLatentSize) and isinstance(model, TellsLatentSide):
                attack.check_latents(model.latent_side())


def _check_signal(name: str, attack: Attack, signal: int) -> None:
    """Where `attack` asks there is some of the image left: before timestep `signal`."""
    lost = [t for t in attack.asks_at(signal) if t >= signal]
    if lost:
        raise MiaError(
            f"timestep {lost[0]} is pure noise on this model's schedule, from which the clean "
            f"image cannot be estimated: ask below {signal}. Change attack.{name} to fit it."
        )


def check_base(model: Model) -> None:
    """A finished fine-tune and its base are asked the same: they share a schedule and a size."""
    base = base_of(model)
    if base is None:
        return
    for name, ours, theirs in (
        ("timesteps", model.timesteps(), base.timesteps()),
        ("pixels a side", model.resolution, base.resolution),
    ):
        if ours != theirs:
            raise MiaError(
                f"model.base has {theirs} {name} and the model has {ours}: it is not what the "
                "model was fine-tuned from."
            )


def check_own_outputs(attacks: Attacks, allowed: str) -> None:
    """With eval.own_outputs, there are attacks that are carried out on what the target generates.

    Args:
        allowed: eval.access, which may rule such attacks out.

    Raises:
        MiaError: pictures would be generated that no attack looks at.
    """
    if any(attack.access is Access.GREY_BOX for attack in attacks.values()):
        return
    given = [f"{n} ({a.access.name.lower()})" for n, a in attacks.items()]
    with_one = f"add a grey-box attack, as in 'attack=[{','.join([*attacks, 'loss'])}]', or "
    way_out = "" if allowed == Access.BLACK_BOX.name.lower() else with_one
    raise MiaError(
        "eval.own_outputs=true is for grey-box attacks, which are carried out on pictures that the "
        f"target generates, and of {', '.join(given)} none is one: "
        f"{way_out}use eval.own_outputs=false."
    )


def check_rows(attacks: Attacks, fewest: int, kind: str, folds: int) -> None:
    """Every out-of-fold fit of a classifier has the rows it needs.

    Args:
        fewest: rows of the rarer class that the poorest fit has.
        kind: the model that calibration rows belong to, "shadow" or "target".
        folds: of the calibration.
    """
    for name, attack in attacks.items():
        needed = max(MIN_ROWS_PER_CLASS, least_rows(attack))
        if fewest < needed:
            raise MiaError(
                f"attack {name}: fewer calibration rows than it needs. {needed} members and as "
                f"many non-members must be left when one of calibration.folds={folds} is kept "
                f"back, and only {fewest} are. Use larger data.sizes for the {kind} roles, or more "
                "folds."
            )


def least_rows(attack: Attack) -> int:
    """Calibration rows of each class that its classifier takes; 0 where it fits none."""
    return attack.least_rows if isinstance(attack, FitsClassifier) else 0


def _fewest_rows(split: Split, kind: str, options: Root) -> tuple[int, int]:
    """Members, and non-members, that the poorest out-of-fold calibration has of each, as scoring
    will form them."""
    from mia_bench.metrics.group_folds import calibrating, folds_of, stratified_half

    roles = SHADOW_ROLES if kind == "shadow" else EVALUATION_ROLES
    rows = [row for row in split.table if row.role in roles]
    is_member = np.array([row.role == roles[0] for row in rows])
    group = np.array([row.group for row in rows])
    if kind == "target":  # calibration=split: half of the rows
        seed = options.data.split_seed
        stratified = options.calibration.halves == "stratified"
        half = stratified_half(group, is_member, seed) if stratified else calibrating(group, seed)
        is_member, group = is_member[half], group[half]
    fold = folds_of(group, options.calibration.folds, options.eval.seed)
    left = [is_member[fold != k] for k in np.unique(fold)]
    members, nonmembers = (
        min((int((rows == side).sum()) for rows in left), default=0) for side in (True, False)
    )
    return members, nonmembers


@contextmanager
def naming(attack: str) -> Iterator[None]:
    """Errors of an attack carry its name."""
    try:
        yield
    except MiaError as error:
        raise MiaError(f"attack {attack}: {error}") from error
