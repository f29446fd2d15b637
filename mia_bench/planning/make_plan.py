"""From checked options to a plan: list the data, split it, lay out what follows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from mia_bench.data.captions.attacker import from_file, with_attacker_captions
from mia_bench.data.captions.pseudo import pseudo_captions
from mia_bench.data.source import Item
from mia_bench.data.split.manifest import Split
from mia_bench.data.split.prepare import prepare
from mia_bench.data.split.roles import Role
from mia_bench.mitigations import TakesCaptions
from mia_bench.models import ChecksItself, base_of
from mia_bench.planning.applicable import Lack, left_out, needing_captions
from mia_bench.planning.experiment import Experiment, leave_out
from mia_bench.planning.keys import split_file
from mia_bench.planning.membership import by_column
from mia_bench.planning.plan import Plan
from mia_bench.planning.preflight import precheck
from mia_bench.planning.specs import EVALUATION_ROLES
from mia_bench.storage.hashing import canonical
from mia_bench.utils.errors import Missing


@dataclass(frozen=True)
class Memo:
    """Data that several plans of one sweep have in common, listed and checked once."""

    listed: dict[str, tuple[Split, dict[str, Item]]] = field(default_factory=dict)


def make_plan(experiment: Experiment, memo: Memo | None = None) -> Plan:
    """List the data, make or verify its split, and lay out everything that follows from it.

    Raises:
        Missing: the data is not here, and plan_only=true forbids to download it.
        MiaError: data or a combination of options that cannot be run, as `prepare` and `precheck`.
    """
    experiment = _checked(experiment)
    listed = {} if memo is None else memo.listed
    finetune = experiment.model.finetune  # otherwise the data has to say who is a member
    key = canonical([experiment.resolved["data"], str(experiment.outputs), finetune])
    if key not in listed:
        listed[key] = _list_data(experiment)
    split, items = listed[key]
    experiment = _with_captions_needed(experiment, split, items)
    experiment = _with_machine_captions(experiment, split, items)
    plan = Plan(experiment, split, items, experiment.outputs)
    precheck(plan)
    return plan


def _with_captions_needed(
    experiment: Experiment, split: Split, items: Mapping[str, Item]
) -> Experiment:
    """The experiment without attacks that compare captions, where the data have none.

    Raises:
        MiaError: as `applicable.left_out`.
    """
    rows = split.rows(*EVALUATION_ROLES)
    if any(items[split.sample_id[i]].caption.strip() for i in rows):
        return experiment
    none = f"none of the {len(rows)} rows of {split.source} to be scored has one"
    lack = Lack(needing_captions, f"captions are needed, and {none}", "Use data with captions.")
    mode = experiment.options.eval.inapplicable
    return leave_out(experiment, left_out(experiment.attacks, [lack], mode))


def _with_machine_captions(
    experiment: Experiment, split: Split, items: Mapping[str, Item]
) -> Experiment:
    """The experiment with the captions that models are trained on in place of the data's own.

    Raises:
        Missing: a captioner is not here, or has not written them yet and only a plan is wanted.
        MiaError: a file that cannot be read, or lacks a caption of a row that is trained on.
    """
    read = dict(experiment.mitigations)
    rows = [split.sample_id[i] for i in split.rows(Role.TARGET_MEMBER, Role.SHADOW_MEMBER)]
    for name, mitigation in experiment.mitigations.items():
        if not isinstance(mitigation, TakesCaptions):
            continue
        key = f"mitigation.{name}."
        if mitigation.file is not None:
            texts = from_file(Path(mitigation.file), set(rows), f"{key}file=")
        elif mitigation.captioner is not None:
            pictures, outputs = [items[sid] for sid in rows], experiment.outputs
            only = experiment.options.plan_only
            option = f"{key}captioner="
            texts = pseudo_captions(mitigation.captioner, pictures, outputs, only, option)
        else:
            continue  # its own check says what is missing
        read[name] = mitigation.with_captions(texts)
    return replace(experiment, mitigations=read)


def _list_data(experiment: Experiment) -> tuple[Split, dict[str, Item]]:
    """The split, and the items by sample id, with the captions that the attacker has."""
    data, plan_only = experiment.options.data, experiment.options.plan_only
    source = experiment.resolved["data"]["source"]
    labelled = by_column(data, source, experiment.model.finetune)
    path = split_file(experiment.outputs, data, source, labelled)
    audited = not experiment.model.finetune
    listing, split, _ = prepare(data, experiment.source, path, plan_only, labelled, audited)
    return split, with_attacker_captions(
        data.captions, listing, split, experiment.outputs, plan_only
    )


def _checked(experiment: Experiment) -> Experiment:
    """The experiment with the resolution that the model's own files say, where none is given.

    The model's configurations are read before any data are listed.

    Raises:
        Missing: the model is not here, and this is no plan alone.
        MiaError: it, or the base that it names, cannot be built.
    """
    model = experiment.model
    try:
        for one in filter(None, (model, base_of(model))):
            if isinstance(one, ChecksItself):
                one.check()
        if model.resolution is not None or not hasattr(model, "sized"):
            return experiment
        return replace(experiment, model=model.sized())
    except Missing:
        if experiment.options.plan_only:  # the plan says what is missing
            return experiment
        raise
