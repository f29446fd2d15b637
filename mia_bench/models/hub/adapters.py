"""Files of LoRAs: paths, or owner/name and owner/name/file on the hub."""

from __future__ import annotations

from pathlib import Path

from mia_bench.models.hub.fetching import NOT_CONTACTED, download
from mia_bench.models.hub.local import cached
from mia_bench.models.hub.repositories import HUB_ID
from mia_bench.utils.errors import Missing
from mia_bench.utils.serialization import is_pickle, refusal


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
