"""`python tests/tools/configuration_page.py`: write docs/configuration.md.

Keys of the closed part come from the dataclasses of mia_bench.config, whose attribute docstrings
say what a key means; options of attacks, models, data sources and mitigations come from the
signature of the class that a yaml of conf/ names, and from its docstring.
tests/contracts/test_documents.py compares the page with what this writes.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import MISSING, fields, is_dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args, get_origin, get_type_hints

import yaml
from hydra import compose, initialize_config_dir
from hydra.utils import get_object
from omegaconf import OmegaConf

from mia_bench.config import schema
from mia_bench.config.compose import conf_dir, register_schema

PAGE = Path(__file__).parents[2] / "docs" / "configuration.md"
NESTED = {c.__name__: c for c in vars(schema).values() if inspect.isclass(c) and is_dataclass(c)}
NAMED_GROUPS = ("attack", "mitigation")  # their yamls hold the name above the node
OPEN_GROUPS = {
    "attack": "Attacks",
    "model": "Models",
    "data": "Data sources",
    "mitigation": "Mitigations",
}
CLOSED_GROUPS = ("calibration", "trainer", "logger")
HEAD = """# Configuration

Every key of the command line, written by `python tests/tools/configuration_page.py` from the code;
a test keeps it true. A key is set by `key=value`, e.g. `python -m mia_bench finetune.lr=1e-4
'attack=[clid,loss]'`; a word without a dot that names a group chooses one of its yamls in
[conf/](../conf/). A key that is not here is refused, with the nearest one that is, before anything
is loaded.

The column *default* is the value in the default run: `model=tiny data=openmoji attack=clid
mitigation=none calibration=shadow trainer=auto logger=csv`. Other yamls of these groups set other
values: the model's yaml owns `finetune`, the data's owns `data`. `${seed}` follows the key `seed`;
`null` is no value.

Hydra adds `-m` (one job for every combination of comma-separated values, see
[sweeps.md](sweeps.md)), `experiment=NAME` (a yaml that sets several keys, listed below), `hydra.searchpath=[file://FOLDER]`
(yamls of your own, see [extending](extending/README.md)) and `--cfg job` (print the composed
configuration).
"""


class Choice(NamedTuple):
    """A yaml of an open group: the name inside, its `_target_` node or None, its first comment."""

    name: str
    node: dict[str, Any] | None
    comment: str


def main() -> None:
    PAGE.write_text(page(), encoding="utf-8")


def page() -> str:
    """The whole page."""
    parts = [HEAD, *_closed()]
    for group, title in OPEN_GROUPS.items():
        parts += [f"## {title}\n", *_open(group)]
    return "\n".join([*parts, "## Experiments\n", _choices("experiment")])


# --- keys that are the same whatever is attacked ---


def _closed() -> Iterator[str]:
    register_schema()
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        config = OmegaConf.to_container(compose("config"), resolve=False)
    assert isinstance(config, dict)
    sections: dict[str, list[Sequence[str]]] = {"": []}
    for key, *about in _keys(schema.Root, config, ""):
        sections.setdefault(key.rpartition(".")[0], []).append((f"`{key}`", *about))
    for section, rows in sections.items():
        yield f"## `{section}`\n" if section else "## Keys of the run\n"
        if section in CLOSED_GROUPS:
            yield _choices(section)
        yield _table(("key", "type", "default", "meaning"), rows)


def _keys(cls: type, config: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, str, str, str]]:
    """(key, type, default, meaning) of every key below `cls`, in the order of the code."""
    kinds, meanings = _documented(cls)
    for name, kind in kinds.items():
        key = prefix + name
        if kind in NESTED:
            yield from _keys(NESTED[kind], config[name], f"{key}.")
        elif name in meanings:
            chosen = key in OPEN_GROUPS or key == "data.source"
            shown = "chosen by its group" if chosen else _value(config[name])
            yield key, _kind(kind), shown, meanings[name]
        else:
            raise ValueError(f"{cls.__name__}.{name} has no docstring that says what it means")


def _documented(cls: type) -> tuple[dict[str, str], dict[str, str]]:
    """Types as written, and attribute docstrings, of the fields of a dataclass."""
    (definition,) = ast.parse(textwrap.dedent(inspect.getsource(cls))).body
    assert isinstance(definition, ast.ClassDef)
    kinds: dict[str, str] = {}
    meanings: dict[str, str] = {}
    last = ""
    for node in definition.body:
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            last = node.target.id
            kinds[last] = ast.unparse(node.annotation)
        elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and last:
            meanings[last] = " ".join(str(node.value.value).split())
        else:
            last = ""
    return kinds, meanings


def _choices(group: str) -> str:
    """The yamls of a group, by their first comment."""
    paths = sorted((conf_dir() / group).glob("*.yaml"))
    return _table(("word", "what it is"), [(f"`{group}={p.stem}`", _comment(p)) for p in paths])


# --- attacks, models, data sources, mitigations ---


def _open(group: str) -> Iterator[str]:
    """A table of the yamls of a group, then the options of every class that they name."""
    choices = {p.stem: _choice(group, p) for p in sorted((conf_dir() / group).glob("*.yaml"))}
    rows = [(f"`{group}={word}`", _class_of(c), c.comment) for word, c in choices.items()]
    yield _table(("word", "class", "what it is"), rows)
    names: dict[str, list[str]] = {}
    for choice in choices.values():
        if choice.node is not None:
            names.setdefault(choice.node["_target_"], []).append(choice.name)
    for target, inside in names.items():
        yield from _class(group, get_object(target), inside)


def _class(group: str, cls: type, names: Sequence[str]) -> Iterator[str]:
    """What a class says of itself, and its options under the first of `names`."""
    prefix = "data.source" if group == "data" else group
    prefix = f"{prefix}.{names[0]}" if group in NAMED_GROUPS else prefix
    yield f"### {cls.__name__}\n"
    yield _docstring(cls)
    if len(names) > 1 and group in NAMED_GROUPS:
        others = ", ".join(f"`{group}.{name}`" for name in names[1:])
        yield f"The same options under {others}.\n"
    options = [(f"`{prefix}.{name}`", *about) for name, *about in _options(cls)]
    if options:
        yield _table(("key", "type", "default of the class"), options)


def _choice(group: str, path: Path) -> Choice:
    content = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    if group in NAMED_GROUPS:
        single = len(content) == 1 and "defaults" not in content
        name, node = next(iter(content.items())) if single else ("", None)
        return Choice(name, node, _comment(path))
    return Choice("", content["source" if group == "data" else group], _comment(path))


def _comment(path: Path) -> str:
    """The comment at the head of a yaml, as one line."""
    words = []
    for line in path.read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            break
        if not line.startswith("# @package"):
            words.append(line.lstrip("# "))
    return " ".join(words)


def _class_of(choice: Choice) -> str:
    return "" if choice.node is None else f"`{choice.node['_target_'].rpartition('.')[2]}`"


def _docstring(cls: type) -> str:
    """What a class says of itself, or else the first paragraph of its module's docstring."""
    text = inspect.cleandoc(cls.__doc__ or "")
    if text.startswith(f"{cls.__name__}("):  # dataclass made it of the signature
        text = inspect.cleandoc(importlib.import_module(cls.__module__).__doc__ or "")
        text = text.partition("\n\n")[0]
    about, _, arguments = text.partition("Args:")
    paragraphs = [" ".join(paragraph.split()) for paragraph in about.split("\n\n")]
    if arguments.startswith("\n"):
        paragraphs.append("\n".join(_entries(arguments)))
    elif arguments:
        paragraphs.append(f"Options: {' '.join(arguments.split())}")
    return "\n\n".join(paragraph for paragraph in paragraphs if paragraph) + "\n"


def _entries(arguments: str) -> list[str]:
    """`name: meaning` lines, with those that go on, as items of a list."""
    entries: list[str] = []
    for line in textwrap.dedent(arguments.strip("\n")).splitlines():
        if line.startswith(" ") and entries:
            entries[-1] += f" {line.strip()}"
        elif line.strip():
            name, _, meaning = line.partition(": ")
            entries.append(f"- `{name}`: {meaning}")
    return entries


def _options(cls: type) -> Iterator[tuple[str, str, str]]:
    """(name, type, default) of every argument of the constructor."""
    declared, hints = {f.name: f for f in fields(cls)}, get_type_hints(cls.__init__)
    for name, parameter in inspect.signature(cls).parameters.items():
        default = declared[name].default
        if default is MISSING:
            default = parameter.default
        needed = default is inspect.Parameter.empty
        words = get_args(hints[name]) if get_origin(hints[name]) is Literal else ()
        kind = f"one of {', '.join(map(str, words))}" if words else _kind(str(parameter.annotation))
        yield name, kind, "none: must be given" if needed else _value(default)


# --- markdown ---


def _kind(kind: str) -> str:
    plain = {"Any": "any", "str": "text", "int": "whole number", "float": "number"}
    plain |= {"bool": "true or false"}
    parts = kind.split(" | ")
    if all(part in plain or part == "None" for part in parts):
        return " or ".join("null" if part == "None" else plain[part] for part in parts)
    return f"`{kind}`"


def _value(value: Any) -> str:
    return f"`{_bare(value)}`"


def _bare(value: Any) -> str:
    """A value as the command line takes it."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{k}: {_bare(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_bare(v) for v in value) + "]"
    if isinstance(value, bool):
        return str(value).lower()
    return "null" if value is None else str(value) or "''"


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "".join(f"| {' | '.join(v.replace('|', chr(92) + '|') for v in r)} |\n" for r in lines)


if __name__ == "__main__":
    main()
