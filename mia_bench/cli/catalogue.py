"""What conf/ offers, read without importing it: from the yaml files and the classes they name.

A preset's comment says what it is, which paper it follows and what it costs; its class says the
rest. Tests hold both to what the classes compute.
"""

from __future__ import annotations

import ast
import importlib.util
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from mia_bench.config.compose import conf_dir
from mia_bench.config.guesses import LISTED

ARXIV = re.compile(r"arXiv (\d{4}\.\d{4,5})")
COST = re.compile(r"NFE (\d+(?: \+ \d+)?)")
GROUPS = {listed: group for group, listed in LISTED.items()}
"""Folder of conf/ by what `mia-bench list` calls it."""


@dataclass(frozen=True)
class Preset:
    """One yaml file of a group: its name, its facts by column, and what it is in one sentence."""

    name: str
    facts: dict[str, str]
    sentence: str


def groups_with(name: str) -> list[str]:
    """Groups of conf/ that have an option `name`, in whatever capitals."""
    if not re.fullmatch(r"[\w-]+", name):
        return []
    file = f"{name.lower()}.yaml"
    return [group for group in GROUPS.values() if (conf_dir() / group / file).is_file()]


def presets(kind: str) -> list[Preset]:
    """Every preset of one of `GROUPS`, by name."""
    return [_preset(kind, path) for path in sorted((conf_dir() / GROUPS[kind]).glob("*.yaml"))]


def _preset(kind: str, path: Path) -> Preset:
    import yaml

    text = path.read_text(encoding="utf-8")
    comment, content = _comment(text), yaml.safe_load(text) or {}
    source = _source(_target(content))
    facts = {
        "attacks": _attack_facts,
        "models": _model_facts,
        "data": _data_facts,
        "mitigations": _mitigation_facts,
        "experiments": _experiment_facts,
    }[kind](comment, content, source)
    return Preset(path.stem, facts, _sentence(comment))


def _comment(text: str) -> str:
    """The comment a file begins with, on one line, without Hydra's package directive."""
    lines = [line for line in text.splitlines() if not line.startswith("# @package")]
    block = []
    for line in lines:
        if not line.startswith("#"):
            break
        block.append(line.lstrip("# "))
    return " ".join(block)


def _sentence(comment: str) -> str:
    """Its first sentence, without the parentheses that columns show."""
    without = re.sub(r"\s*\([^()]*arXiv[^()]*\)|\s*NFE \d.*", "", comment)
    return re.split(r"(?<=[^.\d])\. |\.$|: `", without, maxsplit=1)[0].strip()


def _target(content: Any) -> str:
    """The class a preset names with `_target_`, or nothing."""
    if not isinstance(content, dict):
        return ""
    named = content.get("_target_")
    return str(named) if named else next(filter(None, map(_target, content.values())), "")


@dataclass(frozen=True)
class ClassSource:
    """A class read from its file: docstrings of module and class, and the class's body."""

    module_doc: str
    class_doc: str
    body: tuple[ast.stmt, ...]

    def constant(self, name: str) -> str:
        """Source of the value of a class attribute, or nothing."""
        for node in self.body:
            if isinstance(node, ast.AnnAssign) and ast.unparse(node.target) == name and node.value:
                return ast.unparse(node.value)
        return ""

    def holds(self, name: str, options: Mapping[str, Any]) -> bool:
        """The class has the property `name`, and `options` have a value that it asks for."""
        for node in self.body:
            if isinstance(node, ast.FunctionDef) and node.name == name:
                asked = ast.unparse(node.body[-1])
                pairs = re.findall(r"self\.(\w+) == '(\w+)'", asked)
                return not pairs or any(options.get(key) == value for key, value in pairs)
        return False


@cache
def _source(dotted: str) -> ClassSource:
    """The class `dotted` names; empty where its file cannot be found."""
    module, _, name = dotted.rpartition(".")
    path = _file_of(module)
    if path is None:
        return ClassSource("", "", ())
    tree = ast.parse(path.read_text(encoding="utf-8"))
    doc = ast.get_docstring(tree) or ""
    for node in tree.body:
        if isinstance(node, ast.ClassDef) and node.name == name:
            return ClassSource(doc, ast.get_docstring(node) or "", tuple(node.body))
    return ClassSource(doc, "", ())


def _file_of(module: str) -> Path | None:
    """Where the source of `module` lies. Its package is located, not imported."""
    package, *rest = module.split(".")
    try:
        spec = importlib.util.find_spec(package) if package else None
    except (ImportError, ValueError):
        return None
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        path = Path(folder, *rest)
        for candidate in (path.with_suffix(".py"), path / "__init__.py"):
            if candidate.is_file():
                return candidate
    return None


def _first(pattern: re.Pattern[str], *texts: str) -> str:
    matches = (pattern.search(text) for text in texts)
    return next((match.group(1) for match in matches if match), "")


def _attack_facts(comment: str, content: Any, source: ClassSource) -> dict[str, str]:
    options = next(iter(content.values()), None) if isinstance(content, dict) else None
    access = source.constant("access").rpartition(".")[2].lower().replace("_", " ")
    needs = "needed" if source.holds("needs_captions", options or {}) else ""
    return {
        "paper": _first(ARXIV, comment, source.module_doc),
        "access": access,
        "NFE": _first(COST, comment),
        "captions": needs,
    }


def _model_facts(comment: str, content: Any, source: ClassSource) -> dict[str, str]:
    del comment, source
    model = content.get("model", {})
    return {"pixels": str(model.get("resolution", "")), "weights": str(model.get("path", ""))}


def _data_facts(comment: str, content: Any, source: ClassSource) -> dict[str, str]:
    """The paper is the data set's own; a comment may name those that used it."""
    del comment
    members = content.get("sizes", {}).get("target_member", "")
    share = isinstance(members, float)  # of the rows that are there
    return {
        "paper": _first(ARXIV, source.module_doc),
        "members": f"{members:.0%}" if share else str(members),
    }


def _mitigation_facts(comment: str, content: Any, source: ClassSource) -> dict[str, str]:
    del content
    return {"paper": _first(ARXIV, comment, source.class_doc)}


def _experiment_facts(comment: str, content: Any, source: ClassSource) -> dict[str, str]:
    del source
    chosen = dict(_overridden(content))
    return {
        "paper": _first(ARXIV, comment),
        "model": chosen.get("model", ""),
        "data": chosen.get("data", ""),
    }


def _overridden(content: Any) -> Iterator[tuple[str, str]]:
    """(group, choice) of the defaults list of an experiment."""
    for entry in content.get("defaults", ()):
        for key, value in entry.items() if isinstance(entry, dict) else ():
            yield key.removeprefix("override /"), str(value)
