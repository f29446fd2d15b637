"""What attacks, model and data source must be able to do, checked before anything is loaded."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from mia_bench.config.validate import check_names, check_options
from mia_bench.utils.errors import MiaError
from mia_bench.utils.text import nearest

if TYPE_CHECKING:
    from mia_bench.attacks import Attack
    from mia_bench.config.schema import Root
    from mia_bench.data.source import Source
    from mia_bench.mitigations import Mitigation
    from mia_bench.models import Model


ANNOTATIONS = "__annotations__"  # where a class has the names it only declares


def refuse(
    options: Root,
    attacks: Mapping[str, Attack],
    model: Model,
    source: Source,
    mitigations: Mapping[str, Mitigation],
) -> None:
    """Raises MiaError that names the key and what would do."""
    from mia_bench.models import HasBase, base_of

    check_names([("data.name", options.data.name), *(("attack", name) for name in attacks)])
    named, takes_base = base_of(model) is not None, isinstance(model, HasBase)
    check_options(options, model.finetune, mitigations, named, takes_base)
    check_contracts(attacks, model, source)
    check_access(options.eval.access, attacks)
    check_scratch(options, model)
    check_text(model, mitigations)
    check_loss(options, model)


def check_loss(options: Root, model: Model) -> None:
    """The loss that the recipe names is one of the model's kind."""
    from mia_bench.models import is_flow

    if model.finetune and options.finetune.loss == "clean" and not is_flow(model):
        raise MiaError(
            "finetune.loss=clean is the loss on clean latents of flow matching, and this model is "
            "on betas, where it would weigh the noise levels otherwise than in training: use "
            "finetune.loss=native."
        )


def check_contracts(attacks: Mapping[str, Attack], model: Model, source: Source) -> None:
    """Attacks, model and source, which may come from plugins, have what their protocols name."""
    from mia_bench.attacks import Attack
    from mia_bench.data.source import Source
    from mia_bench.models import Model

    parts = [(f"attack.{name}", attack, Attack, "attack") for name, attack in attacks.items()]
    for key, part, protocol, kind in (
        *parts,
        ("model", model, Model, "model"),
        ("data.source", source, Source, "source"),
    ):
        # a protocol may extend another, as Attack does
        declared = {n for p in protocol.__mro__ for n in (*vars(p), *vars(p).get(ANNOTATIONS, ()))}
        missing = sorted(n for n in declared if not n.startswith("_") and not hasattr(part, n))
        if missing:
            raise MiaError(
                f"{key}: {type(part).__name__} has no {', '.join(missing)}, which every {kind} "
                f"needs: see {protocol.__name__} in {protocol.__module__.replace('.', '/')}."
            )


def check_text(model: Model, mitigations: Mapping[str, Mitigation]) -> None:
    """Mitigations that are about captions have a model that reads some."""
    from mia_bench.mitigations import FiltersRows, RewritesCaptions, TakesCaptions
    from mia_bench.mitigations.settings import CaptionDropout
    from mia_bench.models import has_text

    kinds = FiltersRows | TakesCaptions | RewritesCaptions | CaptionDropout
    about = [name for name, mitigation in mitigations.items() if isinstance(mitigation, kinds)]
    if about and not has_text(model):
        raise MiaError(
            f"mitigation={'+'.join(about)} is about what captions do, and a {type(model).__name__} "
            "has no text: leave it out."
        )


def check_scratch(options: Root, model: Model) -> None:
    """finetune.from_scratch fits the model, and what it is compared with exists."""
    from mia_bench.models import StartsUntrained, starts_untrained

    scratch, untrained = options.finetune.from_scratch, starts_untrained(model)
    if scratch and not isinstance(model, StartsUntrained):
        raise MiaError(
            f"finetune.from_scratch=true: {type(model).__name__} has no random weights to start "
            "from. Leave it out, or use model=ddpm."
        )
    if scratch and not untrained:
        raise MiaError(
            "finetune.from_scratch=true trains random weights, and model.path names trained ones: "
            "use model.path=null, or finetune.from_scratch=false to fine-tune what is there."
        )
    if untrained and not model.finetune:
        raise MiaError(
            "model.finetune=false audits a model as it is, and model.path=null has random weights: "
            "give model.path, or leave model.finetune=true."
        )
    if untrained and not scratch:
        raise MiaError(
            "model.path=null has random weights, which are not fine-tuned but trained: add "
            "finetune.from_scratch=true, or give model.path."
        )
    compares = options.eval.base_calibrated or options.eval.base_rows
    if untrained and options.calibration.kind == "split" and compares:
        raise MiaError(
            "eval.base_calibrated and eval.base_rows compare a model trained from scratch with its "
            "shadow, and calibration=split has none: use calibration=shadow, or leave them out."
        )


def check_access(allowed: str, attacks: Mapping[str, Attack]) -> None:
    from mia_bench.attacks import Access

    names = [level.name.lower() for level in Access]
    if allowed not in names:
        raise MiaError(f"eval.access={allowed}. {nearest(allowed, names)}")
    above = [n for n, a in attacks.items() if a.access > Access[allowed.upper()]]
    if above:
        raise MiaError(
            f"eval.access={allowed} does not allow {', '.join(above)}, which need more: leave them "
            "out of attack=[...], or raise eval.access."
        )
