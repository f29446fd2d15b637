"""Where everything under outputs/ lies: one walk, from which whoever reads stored runs starts.

Names of folders are looked at, and manifests where they are asked for; links are followed only as
long as they stay within outputs/.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from mia_bench.storage import layout
from mia_bench.storage.stored_files import changed_files, is_sealed, leads_out
from mia_bench.utils.errors import MiaError

MIN_KEY_DIGITS = 6  # of a key that name a run
UNFINISHED = "unfinished: it was interrupted, or is being made. The same command goes on with it"
NO_MANIFEST = f"unfinished: it has no {layout.MANIFEST_FILE}, or not all of it was copied"


@dataclass(frozen=True)
class RunRef:
    """Where a run lies: outputs/runs/<model key>/<step>/<attack>-<key>. Nothing is read yet."""

    outputs: Path
    model_key: str
    step: str
    attack: str
    key: str
    is_building: bool = False

    @property
    def name(self) -> str:
        return layout.join_name(self.attack, self.key)

    @cached_property
    def folder(self) -> Path:
        folder = layout.run_folder(self.outputs, self.model_key, self.step, self.name)
        return layout.build_folder(folder) if self.is_building else folder

    @property
    def place(self) -> str:
        """The folder relative to outputs/."""
        return self.folder.relative_to(self.outputs).as_posix()

    @property
    def obstacle(self) -> str | None:
        """Why this is no finished run that may be read; None where it is one."""
        if self.is_building:
            return UNFINISHED
        folder = self.folder
        links = any(path.is_symlink() for path in (folder, *folder.parents[:3]))
        if links and leads_out(folder, self.outputs):
            return f"not read: it is a link that leads out of {self.outputs}"
        if not (folder / layout.MANIFEST_FILE).is_file():
            return NO_MANIFEST
        return None

    def sibling(self, name: str) -> RunRef:
        """The run called `name` of the same model and step. Raises MiaError for no such name."""
        attack, key = layout.split_name(name)
        if not key or Path(name).name != name:
            raise MiaError(f"{name!r} is not the name of a run")
        return RunRef(self.outputs, self.model_key, self.step, attack, key)


# --- runs -----------------------------------------------------------------------------------------


def run_at(folder: Path) -> RunRef:
    """The run in `folder`. Raises MiaError for a folder that is no run's."""
    outputs = layout.outputs_of_run(folder)
    if outputs is None:
        raise MiaError(
            f"{folder} is not a run's folder: outputs/{layout.RUNS_FOLDER}/<model>/<step>/"
            "<attack>-<key>. `mia-bench status` lists the runs."
        )
    model_key, step = layout.model_and_step(folder)
    attack, key = layout.split_name(folder.name)
    return RunRef(outputs, model_key, step, attack, key, layout.is_being_built(folder))


def runs(outputs: Path) -> list[RunRef]:
    """Every run by model, step and name; an unfinished one unless the finished one is there."""
    refs = [
        RunRef(outputs, model_key, step, *layout.split_name(leaf.name), layout.is_being_built(leaf))
        for model_key, step, leaf in step_folders(outputs / layout.RUNS_FOLDER)
    ]
    wanted = [ref for ref in refs if not (ref.is_building and _is_finished_too(ref))]
    return sorted(wanted, key=lambda ref: (ref.model_key, ref.step, ref.name))


def _is_finished_too(ref: RunRef) -> bool:
    """What an earlier build left of a run that is finished by now."""
    folder = layout.finished_folder(ref.folder)
    return (folder / layout.MANIFEST_FILE).is_file()


def finished_runs(outputs: Path, model_key: str | None = None) -> list[RunRef]:
    """Every run that may be read, of one model or of all."""
    every = runs(outputs)
    return [r for r in every if model_key in (None, r.model_key) and r.obstacle is None]


def find_all_runs(words: Iterable[str], outputs: Path) -> list[RunRef]:
    """The runs that `words` name, each once, in their order; see `find_runs`."""
    return list(dict.fromkeys(ref for word in words for ref in find_runs(word, outputs)))


def find_runs(word: str, outputs: Path) -> list[RunRef]:
    """The runs that `word` names: a folder, `<attack>-<key>`, the first digits of a key, or
    `<attack>-` and these; none for a lock file, as lie between the runs that a wildcard matches.

    Raises:
        MiaError: there is none, the digits begin several keys, or the folder is no run's.
    """
    folder = Path(word)
    if folder.is_dir():
        return [run_at(folder.resolve())]
    if is_lock_file(folder) and folder.is_file():
        return []
    every = runs(outputs)
    same = [ref for ref in every if ref.name == word]
    if not same:
        same = [ref for ref in every if begins_key(word, ref.attack, ref.key)]
        require_one_name(word, [ref.name for ref in same])
    if not same:
        raise MiaError(
            f"no run in {outputs} is called {word}: give a folder, a name (clid-0123456789abcdef) "
            f"or at least {MIN_KEY_DIGITS} digits of the key. "
            "`mia-bench status` lists the runs."
        )
    return same


def begins_key(word: str, name: str, key: str) -> bool:
    """`word` is how `key` begins, with enough digits, alone or behind `<name>-`."""
    digits = word.removeprefix(f"{name}-")
    return len(digits) >= MIN_KEY_DIGITS and key.startswith(digits)


def require_one_name(word: str, names: Iterable[str]) -> None:
    """Raises MiaError where `word` begins the keys of several `names`, which the message lists."""
    different = sorted(set(names))
    if len(different) > 1:
        listed = ", ".join(different)
        raise MiaError(f"{word} is how {len(different)} keys begin: give more digits of {listed}.")


def is_lock_file(path: Path) -> bool:
    """By its name: lock files lie between the runs that a wildcard matches."""
    return path.suffix == layout.LOCK_SUFFIX


def unverified(folder: Path, manifest: dict[str, Any], *names: str) -> str | None:
    """Why figures from the files `names` are not to be shown: not what the manifest vouches for."""
    if not is_sealed(manifest):
        return f"{layout.MANIFEST_FILE} changed since it was written"
    changes = changed_files(folder, manifest, names)
    return "; ".join(changes) if changes else None


# --- the rest -------------------------------------------------------------------------------------


def model_folders(outputs: Path) -> list[Path]:
    """Folders of every finished model."""
    folders = folders_in(outputs / layout.TARGETS_FOLDER)
    return [folder for folder in folders if _is_finished(folder)]


def feature_folders(outputs: Path) -> list[Path]:
    """Folders of every finished feature table."""
    leaves = step_folders(outputs / layout.FEATURES_FOLDER)
    return [folder for _, _, folder in leaves if _is_finished(folder)]


def controls_folders(outputs: Path) -> list[Path]:
    """Folders of every finished set of blind baselines."""
    folders = folders_in(outputs / layout.CONTROLS_FOLDER)
    return [folder for folder in folders if _is_finished(folder)]


def audit_folders(outputs: Path) -> list[Path]:
    """Finished audits."""
    return [path for path in folders_in(outputs / layout.AUDITS_FOLDER) if _is_finished(path)]


def audit_pages(outputs: Path) -> list[Path]:
    """The pages that audits left, by what lies beside them and beside no other page."""
    folders = folders_in(outputs / layout.REPORTS_FOLDER)
    pages = [folder / layout.PAGE_FILE for folder in folders]
    return [p for p in pages if p.is_file() and p.with_name(layout.EXPOSURE_FILE).is_file()]


def utility_folders(outputs: Path, model_key: str, step: str) -> list[Path]:
    """Folders of what was measured of one model at one step, the newest last."""
    folders = folders_in(layout.utility_folder(outputs, model_key, step))
    present = [f for f in folders if not layout.is_being_built(f) and _modified(f) is not None]
    return sorted(present, key=lambda folder: _modified(folder) or 0.0)


def sample_sheets(outputs: Path, model_key: str) -> list[Path]:
    """Sheets of images that a model generated, of every step."""
    model = outputs / layout.UTILITY_FOLDER / model_key
    folders = [folder for step in folders_in(model) for folder in folders_in(step)]
    sheets = [f / layout.SAMPLES_FILE for f in folders if not layout.is_being_built(f)]
    return [path for path in sheets if path.is_file() and not leads_out(path, outputs)]


def files_in(folder: Path, suffix: str) -> list[Path]:
    """Files of `folder` whose names end in `suffix`, by name; none where there is no folder."""
    try:
        with os.scandir(folder) as entries:
            return sorted(Path(e.path) for e in entries if e.name.endswith(suffix) and e.is_file())
    except OSError:
        return []


def step_folders(folder: Path) -> Iterator[tuple[str, str, Path]]:
    """(model key, step, folder) of what lies three levels down."""
    for model in folders_in(folder):
        for step in folders_in(model):
            for leaf in folders_in(step):
                yield model.name, step.name, leaf


def folders_in(folder: Path) -> list[Path]:
    """Folders in `folder`, links to folders included: who reads them looks where they lead."""
    try:
        with os.scandir(folder) as entries:
            return sorted(Path(e.path) for e in entries if e.is_dir())
    except OSError:
        return []


def _is_finished(folder: Path) -> bool:
    named = not layout.is_being_built(folder)
    return named and (folder / layout.MANIFEST_FILE).is_file()


def _modified(folder: Path) -> float | None:
    """When the figures of a utility folder were written; None where there are none."""
    try:
        return (folder / layout.UTILITY_FILE).stat().st_mtime
    except OSError:
        return None
