"""Attacks that a model or its data cannot serve: refused by name, or left out and said so.

attack=all sets eval.inapplicable=skip; attacks that are asked for by name are refused.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from mia_bench.attacks import Attack, NeedsBase, NeedsCaptions, NeedsDecoder, NeedsText
from mia_bench.config.compose import conf_dir
from mia_bench.config.instantiate import build
from mia_bench.utils.errors import MiaError
from mia_bench.utils.text import nearest

REFUSE, SKIP = "refuse", "skip"


def needing_captions(attacks: Mapping[str, Attack]) -> list[str]:
    """Names of the attacks that measure nothing where there are no captions."""
    return [n for n, a in attacks.items() if isinstance(a, NeedsCaptions) and a.needs_captions]


def needing_text(attacks: Mapping[str, Attack]) -> list[str]:
    """Names of the attacks that measure nothing on a model without text."""
    captioned = needing_captions(attacks)
    return [
        n
        for n, a in attacks.items()
        if n in captioned or (isinstance(a, NeedsText) and a.needs_text)
    ]


def left_out_without_text(
    attacks: Mapping[str, Attack], inapplicable: str, reason: str
) -> dict[str, str]:
    """Attacks that a model without text cannot serve; as `left_out_without_captions`."""
    return _left_out(attacks, needing_text, inapplicable, reason)


def left_out_without_captions(
    attacks: Mapping[str, Attack], inapplicable: str, reason: str
) -> dict[str, str]:
    """Attacks that compare captions, each with the reason why there are none to compare.

    Args:
        inapplicable: what is done with them: eval.inapplicable.
        reason: as "the model has no text".

    Raises:
        MiaError: there are such attacks, and they are to be refused, or there is no other attack.
    """
    return _left_out(attacks, needing_captions, inapplicable, reason)


def _left_out(
    attacks: Mapping[str, Attack],
    which: Callable[[Mapping[str, Attack]], list[str]],
    inapplicable: str,
    reason: str,
) -> dict[str, str]:
    needing = which(attacks)
    others = [name for name in attacks if name not in needing]
    if needing and (inapplicable == REFUSE or not others):
        working = others or working_without(which)
        raise MiaError(
            f"attack {', '.join(needing)}: captions are needed, and {reason}. Attacks that work: "
            f"'attack=[{','.join(working)}]', or attack=all, which leaves out those that do not."
        )
    return dict.fromkeys(needing, reason)


def check_mode(inapplicable: str) -> None:
    if inapplicable not in (REFUSE, SKIP):
        raise MiaError(f"eval.inapplicable={inapplicable}. {nearest(inapplicable, (REFUSE, SKIP))}")


def working_without(which: Callable[[Mapping[str, Attack]], list[str]]) -> list[str]:
    """Attacks in conf/ that `which` does not name, and that need no decoder or base."""
    import yaml

    nodes = {
        path.stem: (yaml.safe_load(path.read_text(encoding="utf-8")) or {}).get(path.stem)
        for path in sorted((conf_dir() / "attack").glob("*.yaml"))
    }
    attacks = {name: build(node, f"attack.{name}") for name, node in nodes.items() if node}
    needing = set(which(attacks))
    return [
        name
        for name, attack in attacks.items()
        if name not in needing
        and not (isinstance(attack, NeedsDecoder) and attack.needs_decoder)
        and not (isinstance(attack, NeedsBase) and attack.needs_base)
    ]
