"""Attacks that a model or its data cannot serve: refused by name, or left out and said so.

attack=all sets eval.inapplicable=skip; attacks that are asked for by name are refused.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mia_bench.attacks import (
    Attack,
    MasksAttack,
    NeedsBase,
    NeedsCaptions,
    NeedsDecoder,
    NeedsText,
)
from mia_bench.utils.errors import MiaError
from mia_bench.utils.text import nearest

if TYPE_CHECKING:
    from mia_bench.models import Model

REFUSE, SKIP = "refuse", "skip"
UNDEMANDING = ("loss", "pia", "secmi", "sima", "drc", "img2img")
"""Attacks that every model and all data can serve, to suggest where none is left."""

Attacks = Mapping[str, Attack]


def needing_captions(attacks: Attacks) -> list[str]:
    """Names of the attacks that measure nothing where there are no captions."""
    return [n for n, a in attacks.items() if isinstance(a, NeedsCaptions) and a.needs_captions]


def needing_text(attacks: Attacks) -> list[str]:
    """Names of the attacks that measure nothing on a model without text, captions or not."""
    return [n for n, a in attacks.items() if isinstance(a, NeedsText) and a.needs_text]


def needing_decoder(attacks: Attacks) -> list[str]:
    """Names of the attacks that mask latents by the gradients of a decoder."""
    return [n for n, a in attacks.items() if isinstance(a, NeedsDecoder) and a.needs_decoder]


def needing_base(attacks: Attacks) -> list[str]:
    """Names of the attacks that query the model before its fine-tuning too."""
    return [n for n, a in attacks.items() if isinstance(a, NeedsBase) and a.needs_base]


@dataclass(frozen=True)
class Lack:
    """Something that a model or its data lack.

    Args:
        needing: names of the attacks that cannot do without it.
        reason: a clause for the plan and for messages: "captions are needed, and ...".
        remedy: a sentence that says how to have it, where that can be said.
    """

    needing: Callable[[Attacks], list[str]]
    reason: str
    remedy: str = ""


def lacks_of(model: Model) -> list[Lack]:
    """What attacks may need of a model, and this one has not: text, a decoder, a base."""
    from mia_bench.models import HasBase, base_of, has_decoder, has_text, starts_untrained

    kind, lacks = type(model).__name__, []
    if not has_text(model):
        no_text = f"and a {kind} has no text"
        lacks.append(Lack(needing_captions, f"captions are needed, {no_text}"))
        lacks.append(Lack(needing_text, f"a model that takes text is needed, {no_text}"))
    if not has_decoder(model):
        pixels = (
            f"the gradients of a decoder are needed, and a {kind} works in pixel space, where "
            "decoding is the identity and every entry has the same influence"
        )
        lacks.append(Lack(needing_decoder, pixels))
    queried = "the model before its fine-tuning is queried too, and"
    if starts_untrained(model):
        lacks.append(Lack(needing_base, f"{queried} this one starts from random weights"))
    elif not model.finetune and base_of(model) is None:
        remedy = "Name it, as in model.base=<folder or hub id>."
        known = isinstance(model, HasBase)
        lacks.append(Lack(needing_base, f"{queried} none is known", remedy if known else ""))
    return lacks


def left_out(attacks: Attacks, lacks: Sequence[Lack], inapplicable: str) -> dict[str, str]:
    """Attacks that cannot do without what is lacking, each with the first reason.

    Args:
        inapplicable: what is done with them: eval.inapplicable.

    Raises:
        MiaError: there are such attacks, and they are to be refused, or there is no other attack.
    """
    reasons: dict[str, str] = {}
    for lack in lacks:
        for name in lack.needing(attacks):
            reasons.setdefault(name, lack.reason)
    served = [name for name in attacks if name not in reasons]
    if reasons and (inapplicable == REFUSE or not served):
        problems = [f"attack {', '.join(names)}: {r}" for r, names in by_reason(reasons).items()]
        remedies = [k.remedy for k in lacks if k.remedy and k.reason in reasons.values()]
        ways_out = [*remedies, *_that_work(attacks, served, reasons)]
        raise MiaError(f"{'; '.join(problems)}. {' '.join(ways_out)}")
    return reasons


def by_reason(reasons: Mapping[str, str]) -> dict[str, list[str]]:
    """Names of attacks by the reason why they are left out."""
    names: dict[str, list[str]] = {}
    for name, reason in reasons.items():
        names.setdefault(reason, []).append(name)
    return names


def _that_work(attacks: Attacks, served: list[str], unserved: Mapping[str, str]) -> list[str]:
    """Sentences that name attacks to ask for in place of those that cannot be served."""
    masking = [a for n, a in attacks.items() if n in unserved and isinstance(a, MasksAttack)]
    unmasked = list(dict.fromkeys(attack.host for attack in masking))
    working = list(dict.fromkeys([*served, *unmasked]))
    same = [f"{', '.join(unmasked)}: the same without a mask."] if unmasked else []
    if not working:
        some = ",".join(UNDEMANDING)
        return [f"Attacks that work are 'attack=[{some}]'; mia-bench list attacks names the rest."]
    or_skip = (
        ", or add eval.inapplicable=skip, which leaves out those that do not" if served else ""
    )
    return [f"Attacks that work: 'attack=[{','.join(working)}]'{or_skip}.", *same]


def check_mode(inapplicable: str) -> None:
    """Raises MiaError for a value of eval.inapplicable that is none."""
    if inapplicable not in (REFUSE, SKIP):
        raise MiaError(f"eval.inapplicable={inapplicable}. {nearest(inapplicable, (REFUSE, SKIP))}")
