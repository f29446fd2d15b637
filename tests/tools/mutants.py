"""`python tests/tools/mutants.py FILE... [--sample N] [--out J] [--again J]`: do tests notice?

Every mutant that mutmut's operators make of a file of mia_bench is run against the test file that
mirrors it, the quickest tests first, in a forked process that has torch and friends already.
mutmut's own runner wants one package under test and skips decorated functions; only its operators
are used.

A mutant that no test notices survives: a test is missing, or the mutant is equivalent to the code.
docs/mutants.md says which is which.
"""

from __future__ import annotations

import argparse
import difflib
import gc
import importlib
import importlib.abc
import importlib.machinery
import json
import math
import os
import random
import resource
import signal
import sys
import tempfile
import time
import traceback
from collections import defaultdict
from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import libcst as cst
from libcst.metadata import MetadataWrapper
from mutmut.mutation.file_mutation import MutationVisitor
from mutmut.mutation.mutators import mutation_operators
from mutmut.mutation.pragma_handling import IgnoredCode

ROOT = Path(__file__).resolve().parents[2]
LEAST_SECONDS = 30.0  # of processor time: a mutant that takes more counts as noticed
SLOWER = 8
EXAMPLES = 15  # of hypothesis, instead of 100
MIRRORS = {  # of files whose tests are elsewhere
    "mia_bench/attacks/components/image_similarity.py": ("tests/attacks/test_drc.py",),
    "mia_bench/attacks/components/restoration.py": ("tests/attacks/test_drc.py",),
}
HEAVY = ("numpy", "pandas", "scipy.stats", "sklearn.metrics", "sklearn.linear_model", "torch")
HEAVY += ("diffusers", "transformers", "hydra", "hypothesis", "pytest", "xgboost", "torchmetrics")


@dataclass(frozen=True)
class Mutant:
    """`number` counts the mutants of one file; `diff` has its changed lines."""

    file: str
    number: int
    line: int
    diff: str
    code: str


class Visitor(MutationVisitor):
    """mutmut's, with decorated functions: here nothing is wrapped."""

    def _skip_node_and_children(self, node: cst.CSTNode) -> bool:
        if isinstance(node, cst.FunctionDef):
            return False
        return bool(super()._skip_node_and_children(node))


def mutants(path: Path, only: Container[int] | None = None) -> Iterator[Mutant]:
    """All mutants of a file that differ from it and from each other, or `only` these numbers."""
    source = path.read_text(encoding="utf-8")
    wrapper = MetadataWrapper(cst.parse_module(source))
    visitor = Visitor(mutation_operators, IgnoredCode(set(), set(), set()))
    module = wrapper.visit(visitor)
    seen = {source}
    for number, mutation in enumerate(visitor.mutations):
        if only is not None and number not in only:
            continue
        code = module.deep_replace(mutation.original_node, mutation.mutated_node).code
        if code in seen:
            continue
        seen.add(code)
        lines = difflib.unified_diff(source.splitlines(), code.splitlines(), n=0, lineterm="")
        kept = [line for line in lines if not line.startswith(("---", "+++"))]
        at = int(kept[0].split()[1].split(",")[0].lstrip("-"))
        diff = "\n".join(line for line in kept if not line.startswith("@@"))
        yield Mutant(str(path.relative_to(ROOT)), number, at, diff, code)


def mirror(file: str) -> tuple[str, ...]:
    """mia_bench/data/x.py is tested by tests/data/test_x.py, or by what MIRRORS says."""
    path = Path(file)
    return MIRRORS.get(file) or (str(Path("tests", *path.parts[1:-1], f"test_{path.name}")),)


def module(file: str) -> str:
    return file.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


class Replaced(importlib.abc.MetaPathFinder, importlib.abc.InspectLoader):
    """Imports `name` from `code` instead of its file."""

    def __init__(self, name: str, code: str, path: Path) -> None:
        self.name, self.code, self.path = name, code, path

    def find_spec(
        self, fullname: str, path: object, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname != self.name:
            return None
        spec = importlib.machinery.ModuleSpec(fullname, self, origin=str(self.path))
        spec.has_location = True
        if self.path.name == "__init__.py":
            spec.submodule_search_locations = [str(self.path.parent)]
        return spec

    def get_source(self, fullname: str) -> str:
        return self.code


class Quickest:
    """A pytest plugin: tests that took least on the code as it is go first, for the first that
    fails is the last that runs."""

    def __init__(self, took: Mapping[str, float]) -> None:
        self.before, self.took = took, defaultdict[str, float](float)

    def pytest_collection_modifyitems(self, items: list[Any]) -> None:
        items.sort(key=lambda item: self.before.get(item.nodeid, 0.0))

    def pytest_runtest_logreport(self, report: Any) -> None:
        self.took[report.nodeid] += report.duration


@dataclass(frozen=True)
class Trial:
    """How the mirrored tests are run: for `seconds` of processor time at most; `bare`: without
    conftest.py, which imports half the package; `took` seconds by test; `record`: where to write
    those."""

    seconds: float
    bare: bool
    took: Mapping[str, float] = field(default_factory=dict)
    record: Path | None = None


def run(file: str, code: str, trial: Trial) -> tuple[str, float]:
    """('survived' | 'killed' | 'timeout', seconds) of the mirrored tests on `code`."""
    start, child = time.monotonic(), os.fork()
    if child == 0:
        limit = math.ceil(trial.seconds)
        resource.setrlimit(resource.RLIMIT_CPU, (limit, limit + 5))
        silent = os.open(os.devnull, os.O_RDWR)
        for stream in (0, 1, 2):
            os.dup2(silent, stream)
        sys.meta_path.insert(0, Replaced(module(file), code, ROOT / file))
        import pytest
        from hypothesis import settings

        settings.register_profile("mutants", derandomize=True, database=None, max_examples=EXAMPLES)
        settings.load_profile("mutants")
        outcome = 3
        try:
            options = ["-x", "-q", "--tb=no", "--assert=plain", "-p", "no:cacheprovider"]
            options += ["--noconftest"] * trial.bare
            quickest = Quickest(trial.took)
            outcome = int(pytest.main([*options, *mirror(file)], [quickest]))
            if trial.record:
                trial.record.write_text(json.dumps(quickest.took), encoding="utf-8")
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(outcome)
    status = os.waitpid(child, 0)[1]
    seconds = time.monotonic() - start
    if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGXCPU:
        return "timeout", seconds
    return "survived" if status == 0 else "killed", seconds


def warm(files: Sequence[str]) -> None:
    """Import what the tests import, then forget mia_bench itself: children import it again."""
    for name in (*HEAVY, *map(module, files)):
        importlib.import_module(name)
    for name in [n for n in sys.modules if n.partition(".")[0] == "mia_bench"]:
        del sys.modules[name]
    gc.collect()
    gc.freeze()  # pytest collects garbage at its end: a second for all that was imported here


def rehearse(file: str) -> Trial:
    """What the tests of a file need on the code as it is, and so what a mutant is given."""
    code, names = (ROOT / file).read_text(encoding="utf-8"), ", ".join(mirror(file))
    with tempfile.TemporaryDirectory() as folder:
        record = Path(folder, "took.json")
        for bare in (True, False):
            outcome, seconds = run(file, code, Trial(600, bare, record=record))
            if outcome == "survived":
                break
        else:
            sys.exit(f"{names} fails on the code as it is: repair it first.")
        took = json.loads(record.read_text(encoding="utf-8"))
    print(f"{names}: {seconds:.1f} s", flush=True)
    trial = Trial(max(LEAST_SECONDS, SLOWER * seconds), bare, took)
    if run(file, code, trial)[0] != "survived":
        sys.exit(f"{names} fails when its quickest tests go first: repair it first.")
    return trial


def choose(args: argparse.Namespace) -> list[Mutant]:
    files = [str(Path(file).resolve().relative_to(ROOT)) for file in args.files]
    if args.again:
        entries = json.loads(args.again.read_text(encoding="utf-8"))
        left = {(e["file"], e["number"]) for e in entries if e["outcome"] == "survived"}
        numbers = {file: {number for of, number in left if of == file} for file in files}
        return [mutant for file in files for mutant in mutants(ROOT / file, numbers[file])]
    chosen = [mutant for file in files for mutant in mutants(ROOT / file)]
    if args.sample is not None:
        drawn = random.Random(args.seed).sample(chosen, args.sample)
        chosen = sorted(drawn, key=lambda mutant: (mutant.file, mutant.number))
    if args.lines:
        first, last = map(int, args.lines.split("-"))
        chosen = [mutant for mutant in chosen if first <= mutant.line <= last]
    return chosen


def main() -> None:
    parser = argparse.ArgumentParser(description="Mutants of FILEs that their tests let pass.")
    parser.add_argument("files", nargs="+", metavar="FILE")
    parser.add_argument("--sample", type=int, help="so many mutants of all files, drawn by --seed")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--lines", help="only mutants of lines FIRST-LAST")
    parser.add_argument("--again", type=Path, help="only what survived in this JSON")
    parser.add_argument("--out", type=Path, help="write every outcome as JSON")
    args = parser.parse_args()
    os.chdir(ROOT)
    os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"  # plugins complain of what is imported early
    sys.path.insert(0, str(ROOT))
    chosen = choose(args)
    files = sorted({mutant.file for mutant in chosen})
    warm(files)
    trials = {file: rehearse(file) for file in files}
    found: list[dict[str, Any]] = []
    for mutant in chosen:
        outcome, seconds = run(mutant.file, mutant.code, trials[mutant.file])
        entry = {**asdict(mutant), "outcome": outcome, "seconds": round(seconds, 2)}
        del entry["code"]
        found.append(entry)
        if outcome == "survived":
            print(
                f"\n{mutant.file}:{mutant.line} (mutant {mutant.number})\n{mutant.diff}", flush=True
            )
        if args.out:  # each time: a run takes an hour
            args.out.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    for file in files:
        of = [entry for entry in found if entry["file"] == file]
        left = sum(entry["outcome"] == "survived" for entry in of)
        print(f"{file}: {left} of {len(of)} mutants survive, {left / len(of):.1%}", flush=True)


if __name__ == "__main__":
    main()
