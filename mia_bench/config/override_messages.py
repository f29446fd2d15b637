"""Arguments that Hydra's grammar cannot read, or reads as something else: which, why, the way out.

The grammar of values (hydra.cc, "Extended Override syntax") has characters of its own: a value that
holds one is quoted for Hydra, and the argument once more for the shell.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException

from mia_bench.config.guesses import key_tried
from mia_bench.storage.command import PROGRAM

LISTS = ("attack", "mitigation")  # groups of which one job may have several
BRACKETS = {"[": "]", "{": "}", "(": ")"}
PLAIN = "letters a to z, digits and / - \\ + . $ % * @ ? | : _ ~"


def explain_override(words: Sequence[str]) -> str | None:
    """What is wrong with the first of `words` that Hydra cannot take as one value, or None."""
    for word in words:
        key, equals, value = word.partition("=")
        if word.startswith("-") or not equals:
            continue
        if not _parses(word):
            return _unreadable(key, value)
        if _is_sweep(word) and not {"-m", "--multirun"} & set(words):
            return _several_values(key, value)
    return None


def quoted(key: str, value: str) -> str:
    """The argument that gives `key` the text `value` whatever is in it, as typed in a shell.

    In Hydra's quotes a backslash stands for itself unless quotes follow it, or the end.
    """
    text = re.sub(r"(\\*)'", r"\1\1\\'", value)
    text = re.sub(r"(\\+)$", r"\1\1", text)
    argument = f"{key}='{text}'"
    return shlex.quote(argument) if set(argument) & set('"$`\\!') else f'"{argument}"'


def _unreadable(key: str, value: str) -> str:
    if key != key.strip():
        return f"{key}={value} cannot be read: no blank stands before = : {key.strip()}={value}"
    if value.startswith("~"):  # in quotes it would be a folder of that name
        place = value.replace("~", "$HOME", 1)
        return (
            f"{key}={value} cannot be read: shells expand ~ only where a word begins with it. "
            f"Write {key}={place if value == '~' or value.startswith('~/') else 'the whole path'}"
        )
    if (closing := BRACKETS.get(value[:1])) and value.count(value[0]) > value.count(closing):
        return f"{key}={value} cannot be read: the {value[0]} is not closed by {closing}"
    strange = dict.fromkeys(c for c in value if not (c.isascii() and c.isalnum()))
    named = " ".join(c for c in strange if c not in "/-\\+.$%*@?|:_~ ") or "a place"
    return (
        f"{key}={value} cannot be read: outside quotes the grammar of values takes {PLAIN} as they "
        f"are, and here is {named} as well. Quote the value for Hydra and the argument for the "
        f"shell: {quoted(key, value)}"
    )


def _several_values(key: str, value: str) -> str:
    if "." not in key and (meant := key_tried(key)):  # there would be no such sweep either
        return f"there is no configuration key '{key}'. Did you mean {meant}?"
    remedy = f"a sweep over them needs -m: {PROGRAM} -m {key}={value}"
    if key.lstrip("+") in LISTS:
        remedy += f"; one job with all of them is a list: {shlex.quote(f'{key}=[{value}]')}"
    else:
        remedy += f"; a comma that belongs to the value is quoted: {quoted(key, value)}"
    return f"{key}={value} gives several values for one run: {remedy}"


def _parses(word: str) -> bool:
    try:
        OverridesParser.create().parse_override(word)
    except Exception:  # the lexer of antlr raises errors of its own
        return False
    return True


def _is_sweep(word: str) -> bool:
    try:
        return OverridesParser.create().parse_override(word).is_sweep_override()
    except HydraException:
        return False
