"""pickles.py: no weights of others that would run when they are opened."""

from __future__ import annotations

import os
import pickle
import shutil
from pathlib import Path

import pytest
import torch

from mia_bench.attacks.components.image_similarity import (
    alexnet_weights,
    fetch_open_clip,
    open_clip_model,
)
from mia_bench.models.hub import BUNDLED, fetch_lora, locate
from mia_bench.utils.errors import MiaError
from mia_bench.utils.serialization import SUFFIXES, check_tensors


class Bomb:
    """Makes a folder when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.fixture
def bomb(tmp_path: Path):
    """bomb(path): a pickle there that would make `exploded`; asserts in the end that it did not."""
    exploded = tmp_path / "exploded"

    def plant(path: Path) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.save({"weight": Bomb(exploded)}, path)
        return path

    yield plant
    assert not exploded.exists()


def test_the_bomb_works(tmp_path: Path) -> None:
    with (tmp_path / "b.pkl").open("wb") as handle:
        pickle.dump(Bomb(tmp_path / "made"), handle)
    pickle.loads((tmp_path / "b.pkl").read_bytes())
    assert (tmp_path / "made").is_dir()


@pytest.mark.first_look
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_model_of_pickles_is_refused(experiment, bomb, tmp_path, suffix) -> None:
    folder = tmp_path / "model"
    shutil.copytree(BUNDLED / "tiny", folder)
    for path in folder.glob("unet/*.safetensors"):
        path.unlink()
    bomb(folder / f"unet/diffusion_pytorch_model{suffix}")
    model = experiment(f"model.path={folder}").model
    with pytest.raises(MiaError, match="which are programs and not loaded"):
        model.base_hash()


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_pickle_as_model_or_lora_is_refused(bomb, tmp_path, suffix) -> None:
    path = bomb(tmp_path / f"sd-v1-5{suffix}")
    with pytest.raises(MiaError, match="is a pickle, and opening one runs"):
        locate(str(path))
    with pytest.raises(MiaError, match="is a pickle, and opening one runs"):
        fetch_lora(str(path))


def test_a_pickle_for_open_clip_is_refused(bomb, tmp_path) -> None:
    name = f"ViT-B-32/{bomb(tmp_path / 'clip.pt')}"
    for load in (fetch_open_clip, lambda clip: open_clip_model(clip, torch.device("cpu"))):
        with pytest.raises(MiaError, match="is a pickle"):
            load(name)


def test_weights_that_others_open_hold_tensors_alone(bomb, tmp_path, monkeypatch) -> None:
    from torchvision.models import AlexNet_Weights

    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    path = tmp_path / "checkpoints" / Path(AlexNet_Weights.DEFAULT.url).name
    bomb(path)
    with pytest.raises(MiaError, match="holds more than tensors"):
        alexnet_weights()
    torch.save({"weight": torch.ones(2)}, path)
    assert alexnet_weights() == path
    path.write_bytes(b"PK\x03\x04 no archive")
    with pytest.raises(MiaError, match="Fetch it again"):
        check_tensors(path)
