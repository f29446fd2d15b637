"""LoRAs by name and scale: one scale for each, and a key that changes with either."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from mia_bench.models.readers.chosen_loras import chosen_loras, lora_key
from mia_bench.utils.errors import MiaError


@pytest.fixture
def files(tmp_path: Path) -> tuple[str, str]:
    """Two files of different weights."""
    paths = tmp_path / "a.safetensors", tmp_path / "b.safetensors"
    for value, path in enumerate(paths):
        save_file({"unet.to_q.lora_A.weight": torch.full((1, 2), float(value))}, path)
    return str(paths[0]), str(paths[1])


def test_every_lora_has_its_scale() -> None:
    assert chosen_loras(None, 1.0) == {}
    assert chosen_loras("a", 0.5) == {"a": 0.5}
    assert chosen_loras(("a", "b"), (1.0, 0.7)) == {"a": 1.0, "b": 0.7}
    assert chosen_loras(("a", "b"), 0.3) == {"a": 0.3, "b": 0.3}


@pytest.mark.parametrize(
    ("lora", "scale", "message"),
    [
        (("a", "b"), (1.0,), "2 LoRAs and model.lora_scale 1 scales"),
        (None, 0.5, "0 LoRAs"),
        (("a", "a"), (1.0, 1.0), "names a twice"),
    ],
)
def test_what_does_not_fit_is_refused(lora, scale, message) -> None:
    with pytest.raises(MiaError, match=message):
        chosen_loras(lora, scale)


def test_the_key_is_of_content_and_scale(files: tuple[str, str]) -> None:
    a, b = files
    alone, weak, other = (lora_key(loras) for loras in ({a: 1.0}, {a: 0.5}, {b: 1.0}))
    assert lora_key({}) is None
    assert isinstance(alone, str)  # as it was before scales could be given
    assert len({str(key) for key in (alone, weak, other, lora_key({a: 1.0, b: 1.0}))}) == 4
    assert lora_key({a: 0.5}) == weak
