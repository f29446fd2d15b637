"""An audit as a run: composed, planned with its cost, and carried out as far as features.

What it makes (split, features, blind baselines) lies where every run has it, under the same kind of
key, and is reused. The roles are dealt here, by folder, and written down as the run's split.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from textwrap import shorten
from typing import TYPE_CHECKING

from mia_bench.audit.recognise import AuditedModel, quoted
from mia_bench.audit.request import AuditRequest
from mia_bench.audit.sets import ComparedSets
from mia_bench.audit.share.known_pictures import KnownPictures, known_plans
from mia_bench.data.folders import MEMBER, CaptionSource, Folders
from mia_bench.data.split.manifest import load_split, make_table, save_split
from mia_bench.data.split.near_duplicates import MAX_DISTANCE
from mia_bench.data.split.roles import Role, RoleSizes
from mia_bench.planning.keys import split_file
from mia_bench.planning.plan import Plan
from mia_bench.utils.errors import MiaError

if TYPE_CHECKING:
    from mia_bench.planning.experiment import Experiment

PANEL = ("sima", "pia", "mc", "clid")
"""Nothing is fitted; 21 U-Net evaluations a picture, or fewer where equal ones are made once."""
PANEL_WITHOUT_CAPTIONS = ("sima", "pia", "mc")
OWN_WORDS = "The pictures' own captions are used."
MAX_SHOWN_CHARACTERS = 60  # of a caption in a sentence
CLID_ALPHA = 0.5
"""Equal weight of CLiD's two terms, so that it fits nothing. Ours."""


@dataclass(frozen=True)
class CaptionChoice:
    """What attacks are told of each picture. `source`: own, none or one; `text`: the one for all;
    `captioner`: whose captions are used instead; `words` says it to a person, and is in the audit's
    key; `remark` adds to it, and is not."""

    source: CaptionSource
    words: str
    text: str = ""
    captioner: str | None = None
    remark: str = ""

    @property
    def empty(self) -> bool:
        return self.source == "none" and self.captioner is None


def choose_captions(asked: str | None, listed: Sequence[str]) -> CaptionChoice:
    """The captions of an audit, given those that lie beside the pictures ("" where none does).

    Raises:
        MiaError: captions=own where some pictures have none.
    """
    lacking = sum(not caption.strip() for caption in listed)
    if asked is None and lacking == 0:
        asked = "own"
    if asked is None:
        some = (
            f"{len(listed) - lacking} of {len(listed)} pictures have one"
            if lacking < len(listed)
            else "none lies beside the pictures"
        )
        return CaptionChoice(
            "none", f"No captions are used: {some}, so the attacks ask with the empty caption."
        )
    if asked == "own":
        if lacking:
            raise MiaError(
                f"captions=own: {lacking} of {len(listed)} pictures have no caption. Leave "
                "captions= out for none, or give one for all: captions='a photo of a dog'."
            )
        if len(listed) > 1 and len(set(listed)) == 1:
            shown = shorten(listed[0], MAX_SHOWN_CHARACTERS, placeholder="...")
            return CaptionChoice("own", OWN_WORDS, remark=f"All have the same one: '{shown}'.")
        return CaptionChoice("own", OWN_WORDS)
    if asked == "none":
        return CaptionChoice(
            "none", "No captions are used: the attacks ask with the empty caption."
        )
    if asked.startswith("pseudo:"):
        return CaptionChoice("none", f"Captions are written by {asked[7:]}.", captioner=asked)
    return CaptionChoice("one", f"One caption is said of every picture: '{asked}'.", asked)


@dataclass(frozen=True)
class AuditRun:
    """The run of an audit, and that of the base model on the same rows, where there is one."""

    plan: Plan
    base: Plan | None
    known: tuple[Plan, ...] = ()
    """Both again, on pictures that are known to have been used."""

    @property
    def plans(self) -> list[Plan]:
        return [self.plan, *([self.base] if self.base else []), *self.known]

    @cached_property
    def names(self) -> list[str]:
        return list(self.plan.experiment.attacks)

    @property
    def evaluations(self) -> int:
        """U-Net evaluations at most that are left to make."""
        specs = (spec for plan in self.plans for some in plan.missing().values() for spec in some)
        return sum(spec.evaluations for spec in specs)


def prepare_run(
    request: AuditRequest,
    model: AuditedModel,
    sets: ComparedSets,
    captions: CaptionChoice,
    known: KnownPictures | None = None,
) -> AuditRun:
    """Compose, write the split, plan. Raises MiaError as every run does."""
    content = sets.content
    words = run_words(request, captions, content)
    plan = _planned([*model.words, *words], sets, request)
    base = None if model.base is None else _planned([*model.base, *words], sets, request)
    if known is None:
        return AuditRun(plan, base)
    plans = [plan, *([base] if base else [])]
    return AuditRun(plan, base, tuple(known_plans(plans, known, request.seed)))


def run_words(request: AuditRequest, captions: CaptionChoice, content: str) -> list[str]:
    """The run in the words of the configuration, but for its model."""
    attacks = request.attacks or (PANEL_WITHOUT_CAPTIONS if captions.empty else PANEL)
    panel = [f"attack=[{','.join(attacks)}]"]
    if not request.attacks and "clid" in attacks:
        panel.append(f"attack.clid.alpha={CLID_ALPHA}")
    source = {
        "members": str(request.first.absolute()),
        "nonmembers": str(request.second.absolute()),
        "captions": captions.source,
        "caption": captions.text,
        "content": content,
    }
    return [
        "data=given",
        "data.name=audit",
        "~data.source.root",
        "~data.source.caption_choice",
        f"data.source._target_={Folders.__module__}.{Folders.__qualname__}",
        "data.source.name=audit",
        *(f"+data.source.{key}={quoted(value)}" for key, value in source.items()),
        f"data.captions={quoted(captions.captioner or 'own')}",
        *panel,
        "model.finetune=false",
        "calibration=stratified",
        "eval.ensemble=false",
        "eval.base_rows=null",
        f"eval.blind_rows={str(not request.variants).lower()}",  # variants are alike by design
        f"seed={request.seed}",
        f"paths.outputs={quoted(str(request.outputs))}",
        *request.overrides,
    ]


def _planned(words: Sequence[str], sets: ComparedSets, request: AuditRequest) -> Plan:
    from mia_bench.planning.experiment import compose
    from mia_bench.planning.make_plan import make_plan

    experiment = compose(*words)
    experiment.model.fetch()
    _write_split(experiment, sets, request.seed)
    return make_plan(experiment)


def _write_split(experiment: Experiment, sets: ComparedSets, seed: int) -> None:
    """Every picture in its folder's role, near-duplicates in one group. Raises MiaError as
    `load_split` where another one is in its place."""
    data = experiment.options.data
    path = split_file(experiment.outputs, data, experiment.resolved["data"]["source"])
    if path.exists():
        load_split(path)
        return
    listing = replace(sets.listing, items=sets.items)
    roles = [
        Role.TARGET_MEMBER if item.pool == MEMBER else Role.TARGET_NONMEMBER for item in sets.items
    ]
    sizes = RoleSizes(*sets.counts, 0, 0, 0)
    split = make_table(
        *(listing, sets.group, roles, sizes), source=data.name, seed=seed, max_distance=MAX_DISTANCE
    )
    save_split(split, path)


def cost_lines(run: AuditRun, evidence: int = 0) -> Iterator[str]:
    """What is left to ask, in U-Net evaluations and time, measured on the model itself.

    `evidence`: evaluations that restoring and generating pictures will take, see
    `evidence_evaluations`.
    """
    from mia_bench.execution.cost_estimate import hours, time_evaluation
    from mia_bench.execution.loading import device_of, load_model
    from mia_bench.utils.memory import free

    evaluations = run.evaluations
    if not evaluations:
        asked = "the features of these pictures are stored"
        yield f"Nothing is left to ask: {asked}." if not evidence else f"{asked.capitalize()}."
    if not evaluations + evidence:
        return
    target = load_model(run.plan, run.plan.target)
    device = device_of(run.plan.experiment.options.trainer)
    seconds = (evaluations + evidence) * time_evaluation(target.to(device))
    del target
    free()
    each = evaluations / max(1, sum(len(rows) for p in run.plans for _, rows in p.missing()))
    parts = [f"{each:.0f} a picture and model"] if evaluations else []
    parts += [f"{evidence:,} of them to restore and generate pictures"] if evidence else []
    yield (
        f"At most {evaluations + evidence:,} U-Net evaluations ({', '.join(parts)}), about "
        f"{hours(seconds)} on {device}."
    )


def carry_out(run: AuditRun) -> None:
    """Extract what is missing and fit the blind baselines; finished parts are read."""
    from mia_bench.evaluation.score_run import build_blind
    from mia_bench.execution import stages
    from mia_bench.execution.run import occupied
    from mia_bench.planning.preflight import fetch

    for plan in run.plans:
        with occupied(plan):
            fetch(plan)
            stages.extract_features(plan)
    build_blind(run.plan)


def folders_of(request: AuditRequest) -> dict[str, Path]:
    """Folders by pool."""
    from mia_bench.data.folders import NONMEMBER

    return {MEMBER: request.first, NONMEMBER: request.second}
