"""Predict passes over the models of a plan, and the feature tables made of their shards.

One process makes one pass after the other, or all ranks of a distributed run do. Small models on a
CPU are asked by several processes at once (parallel.py): they share the batches of all passes, so
that all end together, whatever each model has left to be asked. The process of the run holds the
locks, finds out what is missing, and merges the shards of all when all have ended. A worker may
outlive a killed run by moments: what it still writes, the next run writes under the same names.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mia_bench.execution import parallel
from mia_bench.execution.loading import load_model, scoring_model, with_base
from mia_bench.planning.noise_levels import queried_levels
from mia_bench.storage import layout
from mia_bench.storage.artifacts import finished_elsewhere, get_or_build, is_settled
from mia_bench.storage.locks import holding
from mia_bench.utils.distributed import global_rank
from mia_bench.utils.errors import MiaError
from mia_bench.utils.memory import free
from mia_bench.utils.threads import threads

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mia_bench.execution.parallel import Division
    from mia_bench.extraction.predict import Destinations, Outstanding
    from mia_bench.extraction.tasks import Tasks
    from mia_bench.planning.plan import Passes, Plan
    from mia_bench.planning.specs import FeatureSpec, ModelSpec
    from mia_bench.target import Target

STAGE = "extract"  # by which a worker process is told that it is to take part in this
Levels = dict[str, dict[str, float]]
"""Noise fraction by timestep, for each table of a pass."""


def extract_features(plan: Plan) -> None:
    """Every missing feature table, one predict pass per model and rows."""
    passes = plan.missing()
    costs = parallel.extraction_costs(plan)
    division = parallel.division_of(plan, costs) if passes else None
    if division is not None:
        with threads(division.threads):
            _extract_together(plan, passes, division)
        return
    distributed = plan.experiment.options.trainer.ranks > 1  # every rank writes its own shards
    for (model, rows), features in passes.items():
        with holding([spec.folder for spec in features], distributed):
            waiting = _waiting(features) if global_rank() == 0 else features
            if distributed and len(waiting) < len(features):
                raise MiaError(finished_elsewhere(features[0].folder))
            if waiting:
                _extract(plan, model, rows, waiting)
        free()


def _waiting(features: Sequence[FeatureSpec]) -> list[FeatureSpec]:
    """Without those that another job has extracted meanwhile, or that a kill left once all was
    sealed; for the process that holds their locks."""
    return [spec for spec in features if not is_settled(spec.folder, (layout.SHARDS_FOLDER,))]


def _extract(
    plan: Plan, model: ModelSpec, rows: Sequence[str], features: Sequence[FeatureSpec]
) -> None:
    """One predict pass, and the tables that are made of its shards."""
    from mia_bench.extraction.predict import run_pass

    with _asked(plan, model, features) as target:
        options = plan.experiment.options
        run_pass(
            target,
            _destinations(features),
            plan.items_of(rows),
            plan.experiment.model.resolution,
            options.eval.batch_size,
            options.trainer,
            f"extract {model.kind}",
        )
        levels = _levels(target, features)
    _merge(features, levels)


@contextmanager
def _asked(plan: Plan, model: ModelSpec, features: Sequence[FeatureSpec]) -> Iterator[Target]:
    """The model ready to be asked, with the base beside it where an attack compares the two."""
    attacks = [spec.attack for spec in features]
    with scoring_model(plan, model) as target, with_base(plan, model, target, attacks):
        yield target


def _destinations(features: Sequence[FeatureSpec]) -> Destinations:
    return {s.folder.name: (s.attack, layout.build_folder(s.folder)) for s in features}


def _levels(target: Target, features: Sequence[FeatureSpec]) -> Levels:
    return {spec.folder.name: queried_levels(target, spec.attack) for spec in features}


def _merge(features: Sequence[FeatureSpec], levels: Levels) -> None:
    for spec in features:
        merge = partial(merge_shards, spec, levels=levels[spec.folder.name])
        get_or_build(spec.folder, merge, discard=(layout.SHARDS_FOLDER,))


def merge_shards(
    spec: FeatureSpec, folder: Path, levels: Mapping[str, float] | None = None
) -> dict[str, Any]:
    """One table of the shards in `folder`; what its manifest should say.

    `levels`: noise fraction by timestep, where the model is told fractions.
    """
    from mia_bench.extraction.shards import merge
    from mia_bench.storage.feature_table import write_table

    table, cost = merge(folder, spec.sample_id)
    write_table(folder / layout.FEATURES_FILE, table)
    facts = {"model": spec.model.key, "cost": cost.to_json()}
    return facts | ({"levels": dict(levels)} if levels else {})


# --- several processes ----------------------------------------------------------------------------


def _extract_together(plan: Plan, passes: Passes, division: Division) -> None:
    """All passes, their batches shared with as many workers as what is left is worth."""
    from mia_bench.extraction.predict import outstanding
    from mia_bench.extraction.tasks import Tasks, shared_counter

    with holding([spec.folder for features in passes.values() for spec in features]):
        waiting = {key: _waiting(features) for key, features in passes.items()}
        waiting = {key: features for key, features in waiting.items() if features}
        size = plan.experiment.options.eval.batch_size
        left = [
            outstanding(_destinations(features), rows, size)
            for (_, rows), features in waiting.items()
        ]
        evaluations = sum(
            part.rows * spec.attack.nfe[0]
            for part, features in zip(left, waiting.values(), strict=True)
            for spec in features
        )
        with shared_counter() as counter:
            order = _as_json(plan, waiting, left, counter.descriptor)
            kinds = list(dict.fromkeys(model.kind for model, _ in waiting))
            others = [parallel.Part(kinds, order, [counter.descriptor])]
            others *= division.worthwhile(evaluations) - 1
            with parallel.workers(plan, STAGE, others, division.threads) as helpers:
                tasks = Tasks(counter, [list(part.batches) for part in left])
                levels = _take_part(plan, waiting, left, tasks, shown=True)
                for helper in helpers:
                    helper.wait()
        for place, ((model, _), features) in enumerate(waiting.items()):
            _merge(features, levels.get(place) or _levels(load_model(plan, model), features))
            free()


def _take_part(
    plan: Plan, waiting: Passes, left: Sequence[Outstanding], tasks: Tasks, shown: bool
) -> dict[int, Levels]:
    """Take batches until none is left; the levels of the passes that this process had a part in."""
    from mia_bench.extraction.predict import run_shared_pass

    passes, levels, options = list(waiting.items()), {}, plan.experiment.options
    while (place := tasks.next_pass()) is not None:
        (model, rows), features = passes[place]
        with _asked(plan, model, features) as target:
            run_shared_pass(
                target,
                _destinations(features),
                plan.items_of(rows),
                plan.experiment.model.resolution,
                options.eval.batch_size,
                options.trainer,
                f"extract {model.kind}" if shown else None,
                left[place],
                tasks,
                place,
            )
            levels[place] = _levels(target, features)
        free()
    return levels


def _as_json(
    plan: Plan, waiting: Passes, left: Sequence[Outstanding], descriptor: int
) -> dict[str, Any]:
    """What a worker needs to know: the counter, and what is outstanding of each pass."""
    passes = [
        {
            "tables": [spec.folder.relative_to(plan.outputs).as_posix() for spec in features],
            "batches": list(part.batches.items()),
            "done": {name: sorted(ids) for name, ids in part.done.items()},
        }
        for features, part in zip(waiting.values(), left, strict=True)
    ]
    return {"descriptor": descriptor, "passes": passes}


def work_on(plan: Plan, order: Mapping[str, Any]) -> None:
    """A worker's part of the passes that the process of the run has named, see `_as_json`."""
    from mia_bench.extraction.predict import Outstanding
    from mia_bench.extraction.tasks import SharedCounter, Tasks

    specs = {
        spec.folder.relative_to(plan.outputs).as_posix(): spec
        for run in plan.runs
        for spec in run.feature_specs()
    }
    waiting, left = {}, []
    for part in order["passes"]:
        features = [specs[table] for table in part["tables"]]
        waiting[features[0].model, features[0].sample_id] = features
        done = {name: set(ids) for name, ids in part["done"].items()}
        left.append(Outstanding(dict(part["batches"]), done))
    counter = SharedCounter(order["descriptor"])
    tasks = Tasks(counter, [list(part.batches) for part in left])
    _take_part(plan, waiting, left, tasks, shown=False)
