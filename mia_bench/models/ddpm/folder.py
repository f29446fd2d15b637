"""Where trained weights of a DDPM are: a diffusers directory, a hub repository, or one .pt file.

Repositories of DDPMs come in two forms: all files of the network at the top, as in
google/ddpm-cifar10-32, or in unet/ and scheduler/, as diffusers saves them today.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mia_bench.models import hub
from mia_bench.models.ddpm.network import require_plain
from mia_bench.models.hub import fetching
from mia_bench.models.readers.refusals import refuse_pipeline
from mia_bench.models.schedule import read_schedule
from mia_bench.models.weight_files import load, read_config, weights
from mia_bench.utils.errors import MiaError, Missing

if TYPE_CHECKING:
    import torch

IRRELEVANT = {"_class_name", "_diffusers_version", "_name_or_path", "sample_size", "dropout"}
WANTED = (  # files of a hub repository
    *("config.json", "scheduler_config.json", "model_index.json", "diffusion_pytorch_model*"),
    *("unet/*", "scheduler/*"),
)
NAMED_FILE = "config.json"


def is_checkpoint(path: str) -> bool:
    """A file of the pytorch-ddpm code, by its name."""
    return path.lower().endswith((".pt", ".pth"))


def locate(path: str) -> Path:
    """The folder or file that is here. Never touches the network.

    Raises:
        Missing: it is not, with what would get it.
    """
    here = Path(path).expanduser()
    if here.is_dir() or (is_checkpoint(path) and here.is_file()):
        return here
    if here.is_file():
        raise MiaError(
            f"model.path={path} is a file that model=ddpm does not read: give a diffusers "
            "directory or a .pt file of pytorch-ddpm."
        )
    if is_checkpoint(path) or not hub.HUB_ID.fullmatch(path):
        raise Missing(
            f"model.path={path} is not here: give a diffusers directory, a .pt file of "
            "pytorch-ddpm or a hub id (owner/name), or model.path=null to train from scratch."
        )
    for name in (NAMED_FILE, f"unet/{NAMED_FILE}"):
        found = hub.cached(path, None, name)
        if found is not None:
            return found.parents[name.count("/")]
    raise Missing(
        f"model.path={path} is not here. Fetch it where there is a network with `hf download "
        f"{path}`, or give a folder: model.path=/path/to/folder."
    )


def fetch(path: str) -> None:
    """Download a hub repository that is not here. Raises Missing when it cannot be had."""
    from huggingface_hub import constants

    try:
        locate(path)
    except Missing as missing:
        if is_checkpoint(path) or not hub.HUB_ID.fullmatch(path):
            raise
        if constants.HF_HUB_OFFLINE:
            raise Missing(f"{missing} The hub {fetching.NOT_CONTACTED}.") from None
        _, reason = hub.download(path, None, list(WANTED))
        if reason is not None:
            raise Missing(f"{missing} The hub replied: {reason}") from None
        locate(path)


@dataclass(frozen=True)
class Folder:
    """A diffusers directory of a DDPM: `network` holds the U-Net, `scheduler` the schedule."""

    path: str
    network: Path
    scheduler: Path

    @classmethod
    def at(cls, path: str, folder: Path) -> Folder:
        """Raises MiaError where there is no network or schedule."""
        inside = (folder / "unet" / NAMED_FILE).is_file()
        index = folder / "model_index.json"
        if not inside and not (folder / NAMED_FILE).is_file() and index.is_file():
            kind = str(read_config(index).get("_class_name"))
            raise refuse_pipeline(kind, path, ["DDPMPipeline"])
        network = folder / "unet" if inside else folder
        scheduler = (folder / "scheduler" if inside else folder) / "scheduler_config.json"
        config = read_config(network / NAMED_FILE)
        kind = config.get("_class_name", "UNet2DModel")
        if kind != "UNet2DModel":
            raise MiaError(
                f"{path} is a {kind}, not a UNet2DModel: model=ddpm reads models of images alone, "
                "model=diffusers those with text."
            )
        require_plain(config, path)
        return cls(path, network, scheduler)

    def weights(self) -> list[Path]:
        return weights(self.network.parent, self.network.name)

    def config(self) -> dict[str, Any]:
        """What the network's configuration says that decides its answers."""
        config = read_config(self.network / NAMED_FILE)
        return {name: value for name, value in config.items() if name not in IRRELEVANT}

    def schedule(self) -> dict[str, Any]:
        return read_schedule(read_config(self.scheduler), self.path)

    def load(self, dtype: torch.dtype) -> Any:
        return load_exactly(self.network, dtype)


def load_exactly(folder: Path, dtype: torch.dtype) -> Any:
    """The `UNet2DModel` of a folder. Raises MiaError unless every tensor finds its place."""
    from diffusers import UNet2DModel

    net, places = load(
        UNet2DModel, folder, torch_dtype=dtype, use_safetensors=True, output_loading_info=True
    )
    _require_all(places, folder)
    return net


def _require_all(places: Mapping[str, Any], folder: Path) -> None:
    """`places`: keys by what was wrong with them, as diffusers tells."""
    for kind, verb in (("missing_keys", "lacks"), ("unexpected_keys", "has no place for")):
        if names := sorted(map(str, places.get(kind) or ())):
            shown = ", ".join(names[:6])
            raise MiaError(
                f"{folder} {verb} {len(names)} tensors: {shown}. Its weights are not those of its "
                "config.json; fetch it again."
            )
    if errors := places.get("error_msgs") or places.get("mismatched_keys"):
        raise MiaError(f"{folder} has tensors of other shapes than its config.json: {errors[:3]}")
