"""Parquet files of a data set on the Hugging Face hub: from the cache, or downloaded with a notice.

Only files are fetched: no loading script, no pickle, no code of the repository runs.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mia_bench.config.hub_messages import hub_reason, refuse_full_disk
from mia_bench.utils.errors import Missing
from mia_bench.utils.terminal import echo


@dataclass(frozen=True)
class HubFiles:
    """The parquet files of one split of a hub data set.

    `revision` pins a commit (None: the newest). `files` takes only the first so many, where a part
    of a large set is enough. `size` says in words what to expect when the hub cannot be reached.
    """

    repo: str
    split: str
    revision: str | None = None
    files: int | None = None
    size: str = ""

    def chosen(self, names: Sequence[str]) -> list[str]:
        """Those of `names` (paths in the repository) that belong to the split, first come first."""
        pattern = re.compile(
            rf"(^|/){re.escape(self.split)}[-./].*parquet$|(^|/){self.split}\.parquet$"
        )
        of_split = sorted(name for name in names if pattern.search(name))
        return of_split[: self.files]

    def command(self) -> str:
        at = f" --revision {self.revision}" if self.revision else ""
        return f"hf download {self.repo} --repo-type dataset{at} --include '*{self.split}*.parquet'"

    def __str__(self) -> str:
        part = f", its first {self.files} files" if self.files else ""
        return f"{self.repo}, split {self.split}{part}{f' ({self.size})' if self.size else ''}"


def absent(name: str, what: str, licence: str, advice: str) -> str:
    """What a plan says of data that a run would download."""
    return f"data={name} is not here; a run would download {what}, licence {licence}. {advice}"


def cached(wanted: HubFiles) -> list[Path]:
    """The files, when all of them are in the hub's cache on this machine; else []."""
    folder = _snapshot(wanted)
    if folder is None:
        return []
    there = (path for path in folder.rglob("*.parquet") if path.is_file())  # no link to nothing
    names = [path.relative_to(folder).as_posix() for path in there]
    chosen = wanted.chosen(names)
    total = next((int(m.group(1)) for n in chosen if (m := re.search(r"-of-(\d+)", n))), 1)
    complete = len(chosen) == min(total, wanted.files or total)
    return [folder / name for name in chosen] if complete else []


def _snapshot(wanted: HubFiles) -> Path | None:
    """Folder of the wanted commit in the cache, as the cache is laid out on the disk.

    huggingface_hub refuses a snapshot that lacks any file of the repository, which is what fetching
    one split of it leaves.
    """
    from huggingface_hub import constants

    place = Path(constants.HF_HUB_CACHE) / f"datasets--{wanted.repo.replace('/', '--')}"
    commit = wanted.revision or "main"
    if (ref := place / "refs" / commit).is_file():
        commit = ref.read_text(encoding="ascii", errors="replace").strip()
    folder = place / "snapshots" / commit
    return folder if re.fullmatch("[0-9a-f]{40}", commit) and folder.is_dir() else None


def fetch(wanted: HubFiles, advice: str) -> list[Path]:
    """The files, from the cache or the hub; what is downloaded is printed first.

    Raises Missing with `advice` when they are in neither, MiaError when the disk is full.
    """
    if paths := cached(wanted):
        return paths
    from huggingface_hub import HfApi, snapshot_download

    try:
        info = HfApi().dataset_info(wanted.repo, revision=wanted.revision, files_metadata=True)
        sizes = {file.rfilename: file.size or 0 for file in info.siblings or ()}
        names = wanted.chosen(list(sizes))
        if not names:
            raise Missing(f"{wanted.repo} has no parquet files of a split {wanted.split}. {advice}")
        licence = getattr(info.card_data, "license", None) or "not stated on the hub"
        echo(
            f"downloading {wanted.repo} at {info.sha}: {len(names)} files,"
            f" {sum(sizes[name] for name in names) / 1e9:.2f} GB, licence {licence}",
            error=True,
        )
        folder = Path(
            snapshot_download(
                wanted.repo, repo_type="dataset", revision=wanted.revision, allow_patterns=names
            )
        )
    except Missing:
        raise
    except Exception as error:  # no network, no such repository, gated, offline mode
        refuse_full_disk(error)
        why = hub_reason(error, f"datasets/{wanted.repo}", wanted.revision)
        raise Missing(f"{wanted} cannot be had from the hub ({why}). {advice}") from error
    return [folder / name for name in names]
