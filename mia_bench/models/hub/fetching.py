"""Downloads from the hub: what a run reads and nothing else, its size and licence printed first."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from mia_bench.config.hub_messages import hub_reason, refuse_full_disk
from mia_bench.models.hub.local import absent, cached, incomplete, locate
from mia_bench.models.hub.repositories import HUB_ID, INDEX, NETWORKS, commit, names, patterns
from mia_bench.models.weight_files import read_config
from mia_bench.utils.errors import Missing
from mia_bench.utils.serialization import is_pickle
from mia_bench.utils.terminal import echo

NEWEST = "model.revision=null"
NOT_CONTACTED = "was not contacted: HF_HUB_OFFLINE is set"
HUB_TIMEOUT_SECONDS = 10.0  # for the one request that decides whether the hub can be reached


def fetch(
    path: str,
    revision: str | None = None,
    variant: str | None = None,
    check: Callable[[dict[str, Any]], object] | None = None,
) -> None:
    """Download a hub repository that is not here; prints its size and licence first.

    Args:
        check: is shown model_index.json before anything else is fetched, and may raise.

    Raises:
        Missing: it is not here and cannot be had; comes within seconds when there is no network.
    """
    try:
        locate(path, revision, variant)
    except Missing:
        if Path(path).expanduser().exists() or not HUB_ID.fullmatch(path):
            raise
    else:
        return
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:
        raise Missing(absent(path, revision, variant, dict.fromkeys(names(path)), NOT_CONTACTED))
    wanted = patterns(variant)
    tried: dict[str, str | None] = dict.fromkeys(names(path))
    for repo in tried:
        pin = commit(repo, path, revision)
        if check is not None:
            reachable, tried[repo] = download(repo, pin, [INDEX])
            if tried[repo] is None and (index := cached(repo, pin)) is not None:
                check(read_config(index))
        if check is None or tried[repo] is None:
            reachable, tried[repo] = download(repo, pin, wanted, patterns(None))
        index = cached(repo, pin) if tried[repo] is None else None
        if index is not None:
            tried[repo] = incomplete(index.parent, variant) or None
        if tried[repo] is None:
            return
        if not reachable:
            break
    raise Missing(absent(path, revision, variant, tried, "was contacted"))


def download(
    repo: str, revision: str | None, wanted: list[str], plain: Sequence[str] = ()
) -> tuple[bool, str | None]:
    """(whether the hub answered, why there is no download).

    Parts of which nothing is `wanted` in the repository are fetched by the patterns `plain`.

    Raises:
        MiaError: the disk is full, or not to be written to.
    """
    from huggingface_hub import HfApi, snapshot_download
    from huggingface_hub.errors import HfHubHTTPError

    try:
        info = HfApi().model_info(
            repo, revision=revision, files_metadata=True, timeout=HUB_TIMEOUT_SECONDS
        )
        names = [file.rfilename for file in info.siblings or []]
        if plain and (pickles := _only_pickles(names)):
            return True, pickles
        if not any(fnmatch(name, pattern) for name in names for pattern in wanted):
            return (
                True,
                f"has no {' or '.join(wanted[:3])}, but {', '.join(names[:5]) or 'nothing'}",
            )
        if plain:
            wanted = [*wanted, *_instead_of_variant(names, wanted, plain)]
        echo(f"fetching {repo}: {_size(info, wanted)}, licence {_licence(info)}")
        snapshot_download(repo, revision=revision, allow_patterns=wanted)
    except Exception as error:  # the hub's, or what the HTTP library calls a failed connection
        refuse_full_disk(error)
        return isinstance(error, HfHubHTTPError), hub_reason(error, repo, revision, NEWEST)
    return True, None


def _matching(names: Iterable[str], wanted: Iterable[str], part: str) -> list[str]:
    """Names of a part's files that any pattern stands for."""
    weights = [w for w in wanted if w.startswith(f"{part}/")]
    return [name for name in names if any(fnmatch(name, w) for w in weights)]


def _instead_of_variant(
    names: Sequence[str], wanted: Sequence[str], plain: Sequence[str]
) -> list[str]:
    """Patterns of the plain weights of parts that have none of the variant."""
    parts = [part for part in NETWORKS if not _matching(names, wanted, part)]
    return [pattern for pattern in plain if pattern.partition("/")[0] in parts]


def _only_pickles(names: Sequence[str]) -> str | None:
    """Why a repository is of no use whose networks are pickles alone, with the way out."""
    for part in NETWORKS:
        files = [name for name in names if name.startswith(f"{part}/")]
        pickles = [name for name in files if is_pickle(name)]
        if pickles and not any(name.endswith(".safetensors") for name in files):
            return (
                f"has {pickles[0]} and no safetensors for {part}: a pickle is a program and not "
                'loaded. Where you trust it: python -c "import sys; from diffusers import '
                "DiffusionPipeline as P; P.from_pretrained(sys.argv[1], use_safetensors=False)"
                '.save_pretrained(sys.argv[2])" <owner/name> <folder>, then model.path=<folder>'
            )
    return None


def _size(info: Any, wanted: list[str]) -> str:
    files = [f for f in info.siblings or [] if any(fnmatch(f.rfilename, w) for w in wanted)]
    return f"{sum(f.size or 0 for f in files) / 1e9:.1f} GB in {len(files)} files"


def _licence(info: Any) -> str:
    card = info.card_data or {}
    return str(card.get("license") or "not stated")
