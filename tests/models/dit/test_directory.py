"""What a directory's configurations say, and parts that do not go together."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from dit_pipelines import FAMILIES as SMALL

from mia_bench.models.dit.directory import TransformerDirectory
from mia_bench.models.dit.families import FAMILIES
from mia_bench.storage.hashing import hash_key
from mia_bench.utils.errors import MiaError

Folder = Callable[[str], Path]


def directory_of(folder: Path) -> TransformerDirectory:
    name = json.loads((folder / "model_index.json").read_text())["_class_name"]
    return TransformerDirectory(folder, "here", FAMILIES[name])


@pytest.mark.first_look
@pytest.mark.parametrize("family", sorted(SMALL))
def test_every_family_says_its_latents_and_is_whole(family: str, saved_dit: Folder) -> None:
    directory = directory_of(saved_dit(family))
    directory.check(1.0 if family == "flux_dev" else None)
    channels, height, width = directory.latent_shape(64)
    vae = directory.config("vae")
    assert channels == 4  # of FLUX.2 the four cells of a square, of one channel each
    assert height == width == 64 // directory.family.units(vae).shrink
    with pytest.raises(MiaError, match="multiple of"):
        directory.latent_shape(63)


def test_names_of_a_path_are_in_no_identity(saved_dit: Folder, tmp_path: Path) -> None:
    copied = directory_of(shutil.copytree(saved_dit("sd3"), tmp_path / "copy"))
    own = directory_of(saved_dit("sd3"))
    assert hash_key(copied.identity()) == hash_key(own.identity())
    config = copied.folder / "transformer" / "config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "in_channels": 9}))
    assert hash_key(copied.identity()) != hash_key(own.identity())
    with pytest.raises(MiaError, match="takes 9 channels for latents of 4"):
        copied.latent_shape(16)
