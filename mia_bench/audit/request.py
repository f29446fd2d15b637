"""What is asked for: an audit's words, checked, as one object."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from mia_bench.config.arguments import Arguments
from mia_bench.utils.errors import MiaError

ALPHA = 0.01
CONTROL_LEVEL = 0.05
SHOWN = 12  # pictures at either end of the page

Kind = Literal["owner", "data"]
FIRST_SET: dict[str, str] = {"owner": "members", "data": "mine"}
"""Key of the pictures that the question is about."""
SECOND_SET: dict[str, str] = {"owner": "nonmembers", "data": "unseen"}
"""Key of the pictures that were surely not used."""


LABELS: dict[str, tuple[str, str]] = {
    "owner": ("members", "non-members"),
    "data": ("pictures in question", "unseen pictures"),
}


def counted(count: int, name: str) -> str:
    """'1 unseen picture', '2 unseen pictures', of a name as in LABELS."""
    if count == 1:
        first, *rest = name.split(" in ")  # "pictures in question"
        name = " in ".join([first.removesuffix("s"), *rest])
    return f"{count} {name}"


@dataclass(frozen=True)
class AuditRequest:
    """One audit.

    Attributes:
        first, second: folders of the pictures in question and of those to compare with; with
            `variants`, the second holds the unpublished variants of the first.
        captions: own, none, pseudo:<captioner>, or the one caption of all.
        attacks: names, instead of the panel's; none: the panel.
        overrides: further keys of the configuration.
        plan: file of a pre-registration that this audit carries out.
        known: folder of pictures that are known to have been used, of a data owner.
    """

    kind: Kind
    model: str
    first: Path
    second: Path
    variants: bool = False
    base: str | None = None
    captions: str | None = None
    attacks: tuple[str, ...] = ()
    alpha: float = ALPHA
    seed: int = 0
    outputs: Path = Path("outputs")
    name: str = "audit"
    plan: Path | None = None
    pdf: bool = False
    evidence: bool = False
    overrides: tuple[str, ...] = ()
    known: Path | None = None

    @property
    def labels(self) -> tuple[str, str]:
        """The two sets in words."""
        if self.variants:
            return "published pictures", "variants"
        return LABELS[self.kind]

    @property
    def first_name(self) -> str:
        return FIRST_SET[self.kind]

    @property
    def second_name(self) -> str:
        return "variants" if self.variants else SECOND_SET[self.kind]


def request_of(kind: Kind, arguments: Arguments) -> AuditRequest:
    """The audit that `arguments` ask for. Raises MiaError that names what is missing or wrong."""
    first, second = FIRST_SET[kind], SECOND_SET[kind]
    variants = "variants" in arguments
    if variants and kind == "owner":
        raise MiaError(
            "variants= are unpublished versions of a data owner's pictures: mia-bench audit data "
            "model=... mine=... variants=..."
        )
    other = "owner" if kind == "data" else "data"
    if wrong := [key for key in (FIRST_SET[other], SECOND_SET[other]) if key in arguments]:
        raise MiaError(
            f"audit {kind} takes {first}= and {second}=, not {wrong[0]}=: for that, "
            f"mia-bench audit {other}."
        )
    if variants and second in arguments:
        raise MiaError(f"give {second}= or variants=, not both: they are two tests.")
    if "known" in arguments and (kind == "owner" or variants):
        raise MiaError(
            "known= are pictures that are known to have been used, beside mine= and unseen= of a "
            "data owner, for the share of mine= that was: it belongs to no other audit."
        )
    for key, meaning in (
        ("model", "a folder, a file or a hub id, or tiny"),
        (first, "a folder of pictures"),
        ("variants" if variants else second, "a folder of pictures"),
    ):
        if key not in arguments:
            raise MiaError(f"audit {kind} needs {key}=, {meaning}.")
    return AuditRequest(
        kind,
        arguments.text("model"),
        arguments.path(first).expanduser(),
        arguments.path("variants" if variants else second).expanduser(),
        variants,
        _text(arguments, "base"),
        _text(arguments, "captions"),
        tuple(_text(arguments, "attacks", "").split(",")) if "attacks" in arguments else (),
        _alpha(arguments.text("alpha")),
        arguments.integer("seed"),
        arguments.path("paths.outputs"),
        arguments.text("name"),
        arguments.path("plan") if "plan" in arguments else None,
        arguments.flag("pdf"),
        arguments.flag("evidence"),
        arguments.overrides,
        arguments.path("known").expanduser() if "known" in arguments else None,
    )


def kind_of(arguments: Arguments) -> Kind:
    """The audit that sets of these names belong to. Raises MiaError where there are none."""
    for kind in ("owner", "data"):
        if FIRST_SET[kind] in arguments:
            return "owner" if kind == "owner" else "data"
    raise MiaError(
        "give members= and nonmembers= of an owner, or mine= and unseen= of a data owner."
    )


def _text(arguments: Arguments, key: str, default: str | None = None) -> str:
    return arguments.text(key) if key in arguments else default  # type: ignore[return-value]


def _alpha(text: str) -> float:
    try:
        alpha = float(text)
    except ValueError as error:
        raise MiaError(f"alpha={text} must be a number, such as {ALPHA:g}.") from error
    if not 0 < alpha <= 0.2:
        raise MiaError(f"alpha={text}: a rate of false alarms above 0 and up to 0.2.")
    return alpha
