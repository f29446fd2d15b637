"""Words of a command line, checked against what the command declares.

One grammar for every command but `run`, which is Hydra's: bare words, and `key=value`, for which
`--key value` and `--key=value` may be written, and `--key` alone for a switch that is true.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from mia_bench.config.command_spec import Command, Option, Positional, help_text
from mia_bench.config.guesses import key_tried
from mia_bench.storage.command import recorded_as
from mia_bench.utils.errors import MiaError
from mia_bench.utils.terminal import echo, told_of_ctrl_c
from mia_bench.utils.text import nearest

HELP_SWITCHES = ("-h", "--help")


@dataclass(frozen=True)
class Arguments:
    """What a command line says, defaults filled in.

    `words` are the bare ones, `values` come by key in the order written, `overrides` are keys of
    the configuration with their values.
    """

    words: tuple[str, ...]
    values: Mapping[str, tuple[str, ...]]
    overrides: tuple[str, ...]

    def __contains__(self, key: str) -> bool:
        """Whether there is a value, written or by default."""
        return key in self.values

    def text(self, key: str) -> str:
        return self.values[key][-1]

    def several(self, key: str) -> tuple[str, ...]:
        """All values of a key that may be repeated."""
        return self.values.get(key, ())

    def path(self, key: str) -> Path:
        return Path(self.text(key))

    def integer(self, key: str, least: int | None = None) -> int:
        """Raises MiaError for a value that is no whole number, or below `least`."""
        number = whole_number(self.text(key), f"{key}={self.text(key)}")
        if least is not None and number < least:
            raise MiaError(f"{key}={number} must be {least} or more.")
        return number

    def flag(self, key: str) -> bool:
        """Raises MiaError for a value other than true and false."""
        value = self.text(key).lower()
        if value not in ("true", "false"):
            raise MiaError(f"{key}={value} must be true or false.")
        return value == "true"


def whole_number(text: str, quoted: str) -> int:
    """The integer `text`. Raises MiaError, naming it as `quoted`, where it is none."""
    try:
        return int(text)
    except ValueError as error:
        raise MiaError(f"{quoted} must be a whole number.") from error


def training_seeds(arguments: Arguments) -> list[int]:
    """The seeds that a study is made over: its bare words.

    Raises:
        MiaError: one is no whole number, or is given twice, which would count one run as two; or
            `seed=` is an override, which would make every run that of one seed.
    """
    seeds = [whole_number(word, f"seed {word}") for word in arguments.words]
    for seed in seeds:
        if seeds.count(seed) > 1:
            raise MiaError(f"seed {seed} is given twice, and would be counted twice: name it once.")
    for override in arguments.overrides:
        if override.partition("=")[0].lstrip("+") == "seed":
            raise MiaError(
                f"{override} would make every run that of one seed: give seeds as words without "
                "seed=, as in 0 1 2."
            )
    return seeds


def parse(command: Command, words: Sequence[str]) -> Arguments:
    """The words of `command`, checked; --help among them prints its help and exits.

    Raises:
        MiaError: a key, switch or word it does not take (with the nearest one it does), a second
            value, an empty value.
    """
    if set(HELP_SWITCHES) & set(words) or list(words[:1]) == ["help"]:
        echo(help_text(command))
        sys.exit(0)
    options = {option.key: option for option in command.options}
    bare: list[str] = []
    overrides: list[str] = []
    values: dict[str, tuple[str, ...]] = {}
    for word in _without_switches(command, words, options):
        key, equals, value = word.partition("=")
        if equals and key in options:
            values[key] = (*values.get(key, ()), _checked(options[key], value, values))
        elif command.overrides and (equals or word.startswith("~")):
            overrides.append(word)
        elif not equals and key in options and not _is_word(command.positional, word):
            raise MiaError(f"'{word}' has no value: write {key}={_example(options[key])}")
        elif command.positional is not None and not equals:
            bare.append(_allowed(command.positional, word))
        else:
            raise MiaError(_no_option(word, options))
    defaults = {o.key: (o.default,) for o in command.options if o.default is not None}
    return Arguments(_complete(command, bare), defaults | values, tuple(overrides))


def _without_switches(
    command: Command, words: Sequence[str], options: Mapping[str, Option]
) -> Iterator[str]:
    """`words` with `--key value`, `--key=value` and `--key` written as key=value.

    Raises:
        MiaError: a switch that is no key of the command, or one without its value.
    """
    remaining = iter(words)
    for word in remaining:
        if not word.startswith("-") or word == "-":
            yield word
            continue
        name, equals, value = word.lstrip("-").partition("=")
        key = name.replace("-", "_")
        if not equals and key in options and options[key].is_flag:
            value = "true"
        elif not equals and (key in options or _is_override_switch(command, key)):
            value = next(remaining, "")
        if key in options:
            yield f"{key}={value}"
        elif _is_override_switch(command, key):
            yield value
        elif equals and command.overrides:  # as W&B's sweep agents write keys
            yield f"{name}={value}"
        else:
            if command.overrides and (meant := key_tried(key)):
                raise MiaError(f"there is no switch '{word}'. Did you mean {meant}?")
            switches = ["--help", *(f"--{option.replace('_', '-')}" for option in options)]
            raise MiaError(f"there is no switch '{word}'. {nearest(f'--{name}', switches)}")


def _is_word(positional: Positional | None, word: str) -> bool:
    return positional is not None and word in positional.choices


def _example(option: Option) -> str:
    return "true" if option.is_flag else "..."


def _no_option(word: str, options: Mapping[str, Option]) -> str:
    """What to say of a word with an unknown key, or of a path without the key it belongs to."""
    key, equals, _ = word.partition("=")
    places = [option.key for option in options.values() if option.value in ("FILE", "FOLDER")]
    if not equals and places and ("/" in word or "." in word or Path(word).exists()):
        return f"'{word}' stands alone: write {places[0]}={word}"
    return f"there is no option '{word}'. {nearest(key, options)}"


def _is_override_switch(command: Command, key: str) -> bool:
    """`--override key=value` is the older way to write key=value."""
    return command.overrides and key == "override"


def _checked(option: Option, value: str, values: Mapping[str, tuple[str, ...]]) -> str:
    if not value:
        raise MiaError(f"'{option.key}=' has no value: write {option.key}=...")
    if option.key in values and not option.repeated:
        raise MiaError(f"{option.key} is given twice.")
    return value


def _allowed(positional: Positional, word: str) -> str:
    if positional.choices and word not in positional.choices:
        choices = positional.choices
        raise MiaError(f"there is no {positional.name.lower()} '{word}'. {nearest(word, choices)}")
    return word


def _complete(command: Command, words: Sequence[str]) -> tuple[str, ...]:
    """The bare words, or the default ones. Raises MiaError for too few or too many."""
    positional = command.positional
    if positional is None:
        return ()
    if positional.required and not words:
        wanted = ", ".join(positional.choices) or positional.meaning
        needed = f"{positional.name} is needed" + (f" ({wanted})" if wanted else "")
        raise MiaError(f"{needed}: {' '.join(command.program)} {command.syntax}")
    if positional.single and len(words) > 1:
        raise MiaError(f"one {positional.name} at a time: {', '.join(words)} were given.")
    return tuple(words) or positional.default


def run_command(
    command: Command, work: Callable[[Sequence[str]], object], words: Sequence[str] | None = None
) -> None:
    """Run `work` on `words`, the command line's; one message and exit status 1 after an error.

    While it runs, `command` with `words` is what manifests record. An error keeps its traceback
    where it is a bug, or `debug=true` is among the words.
    """
    words = sys.argv[1:] if words is None else words
    try:
        with told_of_ctrl_c(), recorded_as([*command.program, *words]):
            work(words)
    except Exception as error:
        from mia_bench.config.error_messages import explain

        message = explain(error)
        if message is None or "debug=true" in words:
            raise
        echo(f"error: {message}", error=True)
        sys.exit(1)


def outputs_of(arguments: Arguments) -> Path:
    """The folder of `paths.outputs=...`, which is how every command names it.

    Raises:
        MiaError: it does not exist.
    """
    outputs = arguments.path(OUTPUTS.key)
    if not outputs.is_dir():
        raise MiaError(f"{outputs} is not a folder: nothing was run there yet.")
    return outputs


OUTPUTS = Option("paths.outputs", "folder that runs write to", "FOLDER", "outputs")
