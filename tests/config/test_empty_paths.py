"""A path that is empty is neither the present folder nor nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from mia_bench.config.arguments import parse
from mia_bench.config.empty_paths import refuse_empty_paths
from mia_bench.planning.experiment import compose
from mia_bench.status import COMMAND
from mia_bench.utils.errors import MiaError


@pytest.mark.parametrize(
    "word",
    ["paths.outputs=", "model.lora=", "+model.unet=''", '--model.path=""', "model.lora=[]"],
)
def test_an_empty_path_is_refused_by_its_key(word: str) -> None:
    key = word.strip("+-").partition("=")[0]
    with pytest.raises(MiaError, match=rf"^{key}= is empty.* leave {key} out"):
        refuse_empty_paths(["attack=loss", word])


def test_other_keys_may_be_empty_and_null_is_none() -> None:
    refuse_empty_paths(["data.source.caption=", "model.lora=null", "model.path=a", "-m", "seed=1"])


def test_a_run_and_every_command_refuse_it(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(MiaError, match=r"model\.lora= is empty"):
        compose("attack=loss", "model.lora=")
    with pytest.raises(MiaError, match=r"'paths\.outputs=' has no value"):
        parse(COMMAND, ["paths.outputs="])
    assert not list(tmp_path.iterdir())
