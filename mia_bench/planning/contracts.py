"""What attacks, model and data source must be able to do, checked before anything is loaded."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING

from mia_bench.config.validate import check_names, check_options
from mia_bench.utils.errors import MiaError
from mia_bench.utils.text import nearest

if TYPE_CHECKING:
    from mia_bench.attacks import Attack
    from mia_bench.config.schema import Root
    from mia_bench.data.source import Source
    from mia_bench.models import Model


def refuse(
    options: Root,
    attacks: Mapping[str, Attack],
    model: Model,
    source: Source,
    mitigations: Collection[str],
) -> None:
    """Raises MiaError that names the key and what would do."""
    from mia_bench.models import base_of

    check_names([("data.name", options.data.name), *(("attack", name) for name in attacks)])
    check_options(options, model.finetune, mitigations, base_of(model) is not None)
    check_contracts(attacks, model, source)
    check_access(options.eval.access, attacks)


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
        declared = (*vars(protocol), *getattr(protocol, "__annotations__", {}))
        missing = sorted(n for n in declared if not n.startswith("_") and not hasattr(part, n))
        if missing:
            raise MiaError(
                f"{key}: {type(part).__name__} has no {', '.join(missing)}, which every {kind} "
                f"needs: see {protocol.__name__} in {protocol.__module__.replace('.', '/')}."
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
