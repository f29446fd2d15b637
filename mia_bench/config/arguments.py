"""`key=value` words of the small commands, checked as strictly as those of the main one."""

from __future__ import annotations

import sys
from argparse import ArgumentParser
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from mia_bench.utils.errors import MiaError
from mia_bench.utils.terminal import echo


def parse(
    words: Sequence[str], known: Mapping[str, str], usage: str, repeated: Sequence[str] = ()
) -> dict[str, list[str]]:
    """Values by key, in the order given; prints `usage` and the known keys, and exits, for --help.

    `known` says what each key means. A key outside `repeated` is given once at most.

    Raises:
        MiaError: a word that is no key=value, an unknown key (with the nearest one), a second
            value, an empty value.
    """
    if any(word in ("-h", "--help", "help") for word in words):
        width = max(map(len, known))
        lines = [f"  {key:<{width}}  {meaning}" for key, meaning in known.items()]
        echo("\n".join([usage, "", *lines]))
        sys.exit(0)
    found: dict[str, list[str]] = {}
    for word in words:
        key, equals, value = word.partition("=")
        if key not in known:
            from mia_bench.utils.text import (
                nearest,  # with Hydra, which most of these commands need not
            )

            raise MiaError(f"there is no option '{word}'. {nearest(key, known)}")
        if not equals or not value:
            raise MiaError(f"'{word}' has no value: write {key}=...")
        if key in found and key not in repeated:
            raise MiaError(f"{key} is given twice.")
        found.setdefault(key, []).append(value)
    return found


def parse_int(found: Mapping[str, list[str]], key: str, default: int) -> int:
    """The integer given for `key`. Raises MiaError for anything else."""
    value = found.get(key, [str(default)])[0]
    try:
        return int(value)
    except ValueError as error:
        raise MiaError(f"{key}={value} must be a whole number.") from error


def parse_bool(found: Mapping[str, list[str]], key: str) -> bool:
    """Whether `key=true` was given. Raises MiaError for anything but true and false."""
    value = found.get(key, ["false"])[0].lower()
    if value not in ("true", "false"):
        raise MiaError(f"{key}={value} must be true or false.")
    return value == "true"


def take_parts(parser: ArgumentParser, known: Iterable[str], default: Iterable[str]) -> None:
    """`parts`: any of `known`; an empty list where none is named, which stands for `default`."""
    names, without = list(known), ", ".join(default)
    parser.add_argument(
        "parts",
        nargs="*",
        choices=[[], *names],  # []: none named, which some versions of argparse check too
        metavar="part",
        help=f"of {', '.join(names)}; without any: {without}",
    )


def command(
    work: Callable[[Sequence[str]], object],
    manual: str | None = None,
    words: Sequence[str] | None = None,
) -> None:
    """Run `work` on `words`, the command line's; one message and exit status 1 after an error.

    With a `manual` the words are overrides of `python -m mia_bench`: it is what --help prints, and
    other switches are refused. After `debug=true` an error keeps its traceback.
    """
    words = sys.argv[1:] if words is None else words
    if manual is not None and {"-h", "--help"} & set(words):
        echo(manual.strip())
        return
    try:
        if manual is not None and any(word.startswith("-") for word in words):
            raise MiaError("only key=value words are taken here; --help says which.")
        work(words)
    except Exception as error:
        from mia_bench.config.error_messages import explain

        message = explain(error)
        if message is None or "debug=true" in words:
            raise
        echo(f"error: {message}", error=True)
        sys.exit(1)


def outputs_of(found: Mapping[str, list[str]]) -> Path:
    """The folder of `paths.outputs=...`, which is how every command names it.

    Raises:
        MiaError: it does not exist.
    """
    outputs = Path(found.get("paths.outputs", ["outputs"])[0])
    if not outputs.is_dir():
        raise MiaError(f"{outputs} is not a folder: nothing was run there yet.")
    return outputs
