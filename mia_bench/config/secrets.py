"""Secrets in a command line or a configuration are refused before anything is written."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from mia_bench.utils.redaction import SECRET_NAMES, environment_secrets


def secret_in_words(words: Iterable[str]) -> str | None:
    """Why a command line must not be recorded, or None. Never quotes the value."""
    secrets = environment_secrets()
    for word in words:
        for name, value in secrets.items():
            if value in word:
                return f"the command line holds the value of {name}"
        key, equals, value = word.lstrip("+~").partition("=")
        if equals and SECRET_NAMES.search(key) and value not in ("", "null", "''", '""'):
            return f"the command line gives {key}, which looks like a secret"
    return None


def secret_in_values(config: Mapping[str, Any]) -> str | None:
    """Why a resolved configuration must not be stored, or None."""
    secrets = environment_secrets()
    for key, text in _leaves(config, ""):
        for name, value in secrets.items():
            if value in text:
                return f"{key} holds the value of {name}"
    return None


def secret_advice(problem: str) -> str:
    return (
        f"{problem}. Commands and configurations are stored with every result: leave secrets in "
        "the environment (WANDB_API_KEY, HF_TOKEN) or in a login (`wandb login`, `hf auth login`)."
    )


def _leaves(node: Any, key: str) -> Iterator[tuple[str, str]]:
    if isinstance(node, Mapping):
        for name, value in node.items():
            yield key or str(name), str(name)
            yield from _leaves(value, f"{key}.{name}" if key else str(name))
    elif isinstance(node, list | tuple):
        for value in node:
            yield from _leaves(value, key)
    else:
        yield key, str(node)


def refuse_secrets(words: Iterable[str]) -> None:
    """Raises MiaError for a command line that holds a secret."""
    from mia_bench.utils.errors import MiaError  # whose messages are blotted here

    problem = secret_in_words(words)
    if problem is not None:
        raise MiaError(secret_advice(problem))
