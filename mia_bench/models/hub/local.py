"""Models on this machine: folders, the package's own, and what the hub's cache has whole."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from mia_bench.models.hub.repositories import (
    BUNDLED,
    HUB_ID,
    INDEX,
    NETWORKS,
    TEXT_FILE_PATTERNS,
    TEXT_PARTS,
    commit,
    names,
    weight_patterns,
)
from mia_bench.models.weight_files import read_config, weights
from mia_bench.utils.errors import MiaError, Missing
from mia_bench.utils.serialization import is_pickle, refusal


def locate(path: str, revision: str | None = None, variant: str | None = None) -> Path:
    """The folder of a model that is here. Never touches the network.

    Raises:
        Missing: it is not, with everything a person needs to get it.
    """
    prefix, _, name = path.partition(":")
    if prefix == "bundled" and not re.fullmatch(r"[A-Za-z0-9_-]+", name):
        raise Missing(f"model.path={path} names no model of the package: model=tiny is one.")
    folder = BUNDLED / name if prefix == "bundled" else Path(path).expanduser()
    if folder.is_dir():
        return folder
    if is_pickle(path):
        raise Missing(f"model.path: {refusal(path)}")
    if not HUB_ID.fullmatch(path):
        raise Missing(
            f"model.path={path} is neither a folder nor the id of a hub repository (owner/name). "
            "Point it at a diffusers directory, or use model=tiny, which is part of the package."
        )
    tried = {}
    for repo in names(path):
        index = cached(repo, commit(repo, path, revision))
        tried[repo] = (
            _not_cached(repo, commit(repo, path, revision))
            if index is None
            else incomplete(index.parent, variant)
        )
        if index is not None and not tried[repo]:
            return index.parent
    raise Missing(absent(path, revision, variant, tried, "was not contacted"))


def cached(repo: str, revision: str | None, file: str = INDEX) -> Path | None:
    """A file of a repository in the hub's cache on this machine.

    Looked up file by file: huggingface_hub refuses a snapshot that lacks any file of the
    repository, which is what fetching only the files that are read leaves.
    """
    from huggingface_hub import constants, try_to_load_from_cache

    path = try_to_load_from_cache(repo, file, cache_dir=constants.HF_HUB_CACHE, revision=revision)
    return Path(path) if isinstance(path, str) else None


def _not_cached(repo: str, revision: str | None) -> str:
    """What the cache has of a repository whose model_index.json is not there at `revision`."""
    from huggingface_hub import constants

    snapshots = Path(constants.HF_HUB_CACHE, f"models--{repo.replace('/', '--')}", "snapshots")
    there = sorted(path.name for path in snapshots.glob("*") if (path / INDEX).is_file())
    if not there:
        some = any(snapshots.glob("*/*"))
        return "in the cache without model_index.json" if some else "not in the cache"
    main = cached(repo, None)
    latest = "model.revision=null" if main is not None else f"model.revision={there[0]}"
    wanted = f"commit {revision}" if revision else "its main branch"
    return (
        f"the cache has another commit than {wanted}: {', '.join(there)}. It is used with {latest}"
    )


def incomplete(folder: Path, variant: str | None) -> str:
    """Why a snapshot cannot be used, or nothing. Parts that its index names must be whole."""
    try:
        index = read_config(folder / INDEX)
        for part in (name for name, value in index.items() if _is_part(value)):
            if part in NETWORKS:
                weights(folder, part, variant)
            if part in NETWORKS or part.partition("_")[0] in TEXT_PARTS:
                _check_texts(folder / part)
    except MiaError as error:
        return f"incomplete in the cache: {str(error).partition('. ')[0]}"
    return ""


def _is_part(value: object) -> bool:
    return isinstance(value, list) and bool(value) and value[0] is not None


def _check_texts(part: Path) -> None:
    """The configuration of a part is there. Raises Missing."""
    names = TEXT_PARTS.get(part.name.partition("_")[0], ("config.json",))
    if not any((part / name).is_file() for name in names):
        raise Missing(f"no {' or '.join(names)} in {part}")


def absent(
    path: str,
    revision: str | None,
    variant: str | None,
    tried: Mapping[str, str | None],
    hub_contact: str,
) -> str:
    """The message for weights that are not here; `hub_contact`: "was contacted" or why not."""
    from huggingface_hub import constants

    pin = commit(path, path, revision)
    include = [*TEXT_FILE_PATTERNS, *(f"*/{name}" for name in weight_patterns(variant))]
    command = ["hf download", path, *([f"--revision {pin}"] if pin else [])]
    command += [*(f"--include '{pattern}'" for pattern in include), "--exclude 'safety_checker/*'"]
    lines = [f"the weights of {path} are not here."]
    for repo, reason in tried.items():
        at = commit(repo, path, revision)
        lines.append(f"  tried    {repo}{f' at {at[:12]}' if at else ''}: {reason or 'not tried'}")
    lines += [
        f"  cache    {constants.HF_HUB_CACHE}",
        f"  hub      {constants.ENDPOINT} {hub_contact}",
        f"  fetch    {' '.join(command)}",
        "  or name  a diffusers folder you have: model.path=/path/to/folder",
        "  now      model=tiny works without any of this: it is part of the package.",
    ]
    return "\n".join(lines)
