"""Words of a run as Hydra takes them: `--key value` and `--key` are keys, as for other commands.

Hydra's own flags are left as they are, with the word that follows those that take one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from mia_bench.utils.errors import MiaError

ALONE = ("help", "hydra-help", "version", "resolve", "run", "multirun", "shell-completion")
WITH_VALUE = (
    *("cfg", "package", "info", "config-path", "config-name", "config-dir", "experimental-rerun"),
)
SHORT = ("-h", "-r", "-m", "-sc")
SHORT_WITH_VALUE = ("-c", "-p", "-i", "-cp", "-cn", "-cd")


def as_overrides(words: Sequence[str]) -> list[str]:
    """`words` with every switch that is none of Hydra's written as key=value.

    Hydra's parser takes overrides in one row: those that follow a flag come before it where others
    do already.

    Raises:
        MiaError: a flag that does not exist, or a bare word.
    """
    before: list[str] = []
    overrides: list[str] = []
    after: list[str] = []
    for word, of_flag in _rewritten(words):
        if not of_flag:
            overrides.append(word)
        elif overrides:
            after.append(word)
        else:
            before.append(word)
    return [*before, *overrides, *after]


def _rewritten(words: Sequence[str]) -> Iterator[tuple[str, bool]]:
    """Every word as Hydra takes it, and whether it is a flag or the value of one."""
    remaining = list(words)
    while remaining:
        word = remaining.pop(0)
        name, equals, value = word.removeprefix("--").partition("=")
        flag = _flag(word)
        if flag is not None:
            yield word, True
            if flag in (*WITH_VALUE, *SHORT_WITH_VALUE) and not equals and _is_value(remaining):
                yield remaining.pop(0), True
        elif word.startswith("--") and name:
            # a key alone is a switch that is true; as W&B's sweep agents write keys, with an =
            if not equals:
                value = remaining.pop(0) if _is_value(remaining) else "true"
            yield f"{name.replace('-', '_')}={value}", False
        elif word.startswith("-"):
            raise MiaError(
                f"there is no flag '{word}'. Settings are KEY=VALUE, as attack=clid or "
                f"plan_only=true; flags are Hydra's: {', '.join((*SHORT, *SHORT_WITH_VALUE))}."
            )
        elif equals or not word or word.startswith("~"):
            yield word, False
        else:
            raise MiaError(f"'{word}' has no value: write {_key_for(word)}")


def _flag(word: str) -> str | None:
    """The flag of Hydra's that `word` is or abbreviates, without dashes where it is a long one."""
    short = (*SHORT, *SHORT_WITH_VALUE)
    if not word.startswith("--"):
        return next((s for s in sorted(short, key=len, reverse=True) if word.startswith(s)), None)
    name = word[2:].partition("=")[0]
    flags = (*ALONE, *WITH_VALUE)
    begun = [flag for flag in flags if name and flag.startswith(name)]
    return name if name in flags else begun[0] if len(begun) == 1 else None


def _is_value(words: Sequence[str]) -> bool:
    """The next word belongs to the switch before it."""
    return bool(words) and "=" not in words[0] and not words[0].startswith(("-", "~"))


def _key_for(word: str) -> str:
    from mia_bench.cli.catalogue import groups_with

    groups = groups_with(word)
    return f"{groups[0]}={word.lower()}" if groups else f"{word}=..."
