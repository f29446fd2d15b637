"""Where the parts of a model are, and how each is read: from folders, or from a single file."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mia_bench.models.readers.caption_tokens import load_tokenizer
from mia_bench.models.readers.single_file import input_channels
from mia_bench.models.readers.single_file_weights import load_part
from mia_bench.models.weight_files import contents, load, read_config, weights
from mia_bench.utils.errors import MiaError, Missing
from mia_bench.utils.text import nearest

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Parts:
    """The files of one model.

    Args:
        folder: a diffusers directory: model_index.json and a folder for each part.
        variant: of the weight files.
        unet: a folder with a U-Net that stands in for the folder's own.
        file: one file with the weights of all parts; `folder` holds their configurations.
    """

    folder: Path
    variant: str | None = None
    unet: Path | None = None
    file: Path | None = None

    def place(self, part: str) -> Path:
        """The folder with a part's configuration, and its weights unless one file has them all."""
        return self.unet if part == "unet" and self.unet is not None else self.folder / part

    def config(self, part: str, name: str = "config.json") -> dict[str, Any]:
        return read_config(self.place(part) / name)

    def unet_config(self) -> dict[str, Any]:
        """That of the U-Net, with the channels that a single file has."""
        config = self.config("unet")
        if (file := self.from_file("unet")) is not None:
            config["in_channels"] = input_channels(file)
        return config

    def index(self) -> dict[str, Any]:
        """model_index.json. Raises MiaError for the folder of a single part."""
        path = self.folder / "model_index.json"
        if (
            not path.is_file()
            and (self.folder / "unet").is_dir() | (self.folder / "config.json").is_file()
        ):
            raise MiaError(
                f"{self.folder} holds a U-Net and no whole model (no model_index.json): name the "
                f"model it was trained from, and add model.unet={self.folder}."
            )
        return read_config(path)

    def from_file(self, part: str) -> Path | None:
        """The single file that a part is read from, or None where it has a folder."""
        return None if part == "unet" and self.unet is not None else self.file

    def weights(self, part: str) -> list[Path]:
        """Raises Missing where there are none that may be loaded."""
        if (file := self.from_file(part)) is not None:
            return [file]
        place = self.place(part)
        return weights(place.parent, place.name, self.variant)

    def load(self, kind: Any, part: str, dtype: torch.dtype) -> Any:
        """A part by its class `kind`, every tensor at its place.

        Raises:
            MiaError: tensors are missing, or are there that have no place.
        """
        if (file := self.from_file(part)) is not None:
            return load_part(file, kind, part, self.folder, dtype)
        files = self.weights(part)
        variant = self.variant if is_variant(self.variant, files[0]) else None
        return load(kind, self.place(part), variant=variant, torch_dtype=dtype, exact=True)

    def has_variant(self, parts: Iterable[str]) -> bool:
        """Whether the weights of any of `parts` are of the variant."""
        return any(is_variant(self.variant, self.weights(part)[0]) for part in parts)

    def check_variant(self, parts: Sequence[str], path: str) -> None:
        """Parts without the variant are read plain, but one has it, or it is a slip."""
        files = (self.weights(part)[0] for part in parts)
        require_variant(self.variant, files, [self.place(part) for part in parts], path)

    def tokenizer(self, part: str) -> Any:
        """The tokenizer of a text encoder."""
        return load_tokenizer(self.place(part.replace("text_encoder", "tokenizer")))


def is_variant(variant: str | None, file: Path) -> bool:
    """By the word in its name: x.fp16.safetensors, x.fp16-00001-of-00002.safetensors."""
    return variant is not None and variant in re.split(r"[.-]", file.name)


def require_variant(
    variant: str | None, files: Iterable[Path], places: Sequence[Path], path: str
) -> None:
    """Raises MiaError where none of the weight `files` that would be read, one of each part, is of
    the variant: it is a slip. `places`: the parts' folders, whose other variants are named."""
    if variant is None or any(is_variant(variant, file) for file in files):
        return
    names = {file.name for place in places for file in place.glob("*.safetensors")}
    others = {word for name in names for word in name.split(".")[1:-1] if "-of-" not in word}
    there = nearest(variant, others) if others else "There are plain weights alone."
    raise MiaError(
        f"model.variant={variant}: no part of {path} has weights of that name. "
        f"{there} Leave it out (model.variant=null) to read the plain ones."
    )


def unet_folder(folder: Path) -> Path:
    """The folder of a U-Net meant by `folder`: itself, or one inside as training leaves them.

    Of a training checkpoint with both, the averaged weights are not meant: name unet_ema itself.

    Raises:
        MiaError: there is no U-Net.
    """
    for place in (folder, folder / "unet"):
        if (place / "config.json").is_file():
            kind = read_config(place / "config.json").get("_class_name", "UNet2DConditionModel")
            if kind != "UNet2DConditionModel":
                raise MiaError(f"model.unet={folder} holds a {kind}, not a UNet2DConditionModel.")
            return place
    inside = sorted(path.parent.name for path in folder.glob("*/config.json"))
    there = f"it has {', '.join(inside)}" if inside else "it has no folder with a config.json"
    raise MiaError(
        f"model.unet={folder} is no folder of a U-Net (config.json beside "
        f"diffusion_pytorch_model.safetensors), and has none named unet inside: {there}."
    )


def check_beside(folder: Path, parts: Parts, networks: Iterable[str], path: str) -> None:
    """Networks that lie beside the U-Net of model.unet are the model's own.

    Where a text encoder was trained with the U-Net, the two were saved together, and the U-Net with
    the model's own text encoder is another model than was trained.

    Args:
        folder: as model.unet names it; the folder of the U-Net itself means the U-Net alone.
        path: of the model, as the user named it.

    Raises:
        MiaError: another network, which would not be read.
    """
    if parts.unet == folder:
        return
    for part in networks:
        if part == "unet" or not (folder / part / "config.json").is_file():
            continue
        try:
            same = contents(weights(folder, part)) == contents(parts.weights(part))
        except Missing:  # in another format than is read
            same = False
        if not same:
            raise MiaError(
                f"model.unet={folder} holds a {part} too, which is not that of {path} and would "
                f"not be read. Give model.unet={folder / 'unet'} where the U-Net alone is meant; "
                f"else put unet and {part} into a copy of {path}, and name that by model.path."
            )
