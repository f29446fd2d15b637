"""Any byte of any configuration or tokenizer file: answers stay, the key moves, or it is refused.

Never a traceback, and never other answers under one key.
"""

from __future__ import annotations

import random
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from mia_bench.models.stable_diffusion import StableDiffusion
from mia_bench.utils.errors import MiaError

EDITS = 60
CAPTIONS = ["a red apple, it's <|endoftext|>", "", "two Dogs!! " * 30]


def key(model: StableDiffusion) -> tuple[str, str]:
    return model.base_hash(), model.encoder_hash()


def answers(model: StableDiffusion) -> list[object]:
    target = model.build(model.load_unet(), seed=0)
    image = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1
    with torch.no_grad():
        z0, cond = target.encode(image), target.embed(CAPTIONS)
        eps = [target.predict_noise(z0.expand(3, -1, -1, -1), t, cond) for t in (0, 500)]
        return [z0, cond.hidden, target.decode(z0), target.a, target.b, *eps, target.pad_token]


def same(one: list[object], two: list[object]) -> bool:
    pairs = zip(one, two, strict=True)
    return all(torch.equal(a, b) if isinstance(a, torch.Tensor) else a == b for a, b in pairs)


def edited(data: bytes, chance: random.Random) -> bytes:
    """One byte flipped, taken out, made a 7, or in the other case."""
    at = chance.randrange(len(data))
    byte = data[at : at + 1]
    flipped = bytes([byte[0] ^ (1 << chance.randrange(7))])
    return data[:at] + chance.choice([flipped, b"", b"7", byte.swapcase()]) + data[at + 1 :]


@pytest.fixture(params=["tiny", "old tokenizer", "sdxl"])
def model(request, narrow, pipelines, tmp_path) -> StableDiffusion:
    family = {"tiny": None, "old tokenizer": "sd1", "sdxl": "sdxl"}[request.param]
    tiny = StableDiffusion("bundled:tiny", 64)
    shutil.copytree(tiny.folder if family is None else narrow(family), tmp_path / "m")
    if request.param == "old tokenizer":
        pipelines.with_old_tokenizer(tmp_path / "m")
    return replace(tiny, path=str(tmp_path / "m"))


@pytest.mark.long
@pytest.mark.filterwarnings("ignore")  # the libraries speak of options they do not know
def test_no_byte_changes_answers_and_not_the_key(model):
    files = sorted(f for f in Path(model.path).rglob("*") if f.suffix in (".json", ".txt"))
    chance, usual, expected, moved = random.Random(0), key(model), answers(model), 0
    for number in range(EDITS):
        file = files[number % len(files)]
        data = file.read_bytes()
        file.write_bytes(edited(data, chance))
        try:
            model.check()
            if key(model) != usual:
                moved += 1
                continue
            found = answers(model)
            assert same(found, expected), f"{file.name}, edit {number}"
        except MiaError:
            continue
        finally:
            file.write_bytes(data)
    assert moved > 5


def test_a_word_that_a_library_does_not_know_is_one_clear_error(tmp_path):
    shutil.copytree(StableDiffusion("bundled:tiny", 64).folder, tmp_path / "m")
    path = tmp_path / "m" / "text_encoder" / "config.json"
    path.write_text(path.read_text().replace('"float', '"floaT'))
    model = StableDiffusion(str(tmp_path / "m"), 64)
    with pytest.raises(MiaError, match=r"cannot load .*text_encoder"):
        model.build(model.load_unet(), seed=0).embed(["a cat"])
