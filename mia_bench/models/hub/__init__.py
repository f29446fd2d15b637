"""Where a model is: part of the package, a folder, or a repository of the Hugging Face hub.

repositories.py  ids, their copies, pinned commits, and the files that a run reads
local.py         what is on this machine: folders and the hub's cache
fetching.py      downloads
adapters.py      files of LoRAs

Nothing here uses the network but `fetch` and `fetch_lora`, which a run calls before it plans and
`plan_only=true` does not. Only safetensors and text files are fetched.
"""

from mia_bench.models.hub.adapters import fetch_lora, locate_lora
from mia_bench.models.hub.fetching import download, fetch
from mia_bench.models.hub.local import absent, cached, locate
from mia_bench.models.hub.repositories import (
    BUNDLED,
    HUB_ID,
    INDEX,
    PINNED_COMMITS,
    commit,
    names,
    patterns,
    weight_patterns,
)

__all__ = [
    "BUNDLED",
    "HUB_ID",
    "INDEX",
    "PINNED_COMMITS",
    "absent",
    "cached",
    "commit",
    "download",
    "fetch",
    "fetch_lora",
    "locate",
    "locate_lora",
    "names",
    "patterns",
    "weight_patterns",
]
