"""Bytes flipped, files cut or gone: refused with one message, or repaired to the same results."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from jobs import assert_same, results

from mia_bench.storage.feature_table import read_table
from mia_bench.utils.errors import MiaError

DAMAGES = ("flipped", "cut", "gone")


def damage(path: Path, kind: str, seed: int = 0) -> None:
    data = bytearray(path.read_bytes())
    if kind == "gone":
        path.unlink()
    elif kind == "cut":
        path.write_bytes(data[: len(data) // 2])
    else:
        data[np.random.default_rng(seed).integers(len(data))] ^= 2
        path.write_bytes(data)


def one(outputs: Path, pattern: str) -> Path:
    return sorted(outputs.glob(pattern))[0]


def without(outputs: Path, *parts: str) -> Path:
    for part in parts:
        shutil.rmtree(outputs / part)
    return outputs


@pytest.mark.long
@pytest.mark.parametrize("kind", DAMAGES)
@pytest.mark.parametrize(
    ("pattern", "asked_again"),
    [
        ("runs/*/*/loss-*/scores.parquet", ()),
        ("runs/*/*/clid-*/metrics.json", ()),
        ("features/*/base/loss-*/features.parquet", ("runs",)),
    ],
)
def test_finished_work_that_changed_is_refused(copied, again, pattern, asked_again, kind):
    path = one(without(copied, *asked_again), pattern)
    damage(path, kind)
    with pytest.raises(MiaError) as error:
        again(copied)
    said = str(error.value)
    assert str(path.name) in said
    assert f"Delete {path.parent} to build it again" in said
    shutil.rmtree(path.parent)


@pytest.mark.first_look
@pytest.mark.parametrize("kind", DAMAGES)
def test_weights_that_changed_are_not_asked(finished_copied, finished_again, kind):
    outputs = without(finished_copied, "runs", "features")
    for path in outputs.glob("targets/*/steps/4/*.safetensors"):
        damage(path, kind)
    with pytest.raises(
        MiaError, match=r"diffusion_pytorch_model\.safetensors .* since it was writ"
    ):
        finished_again(outputs)
    assert not list(outputs.glob("features/**/*.parquet"))


@pytest.mark.first_look
@pytest.mark.parametrize("kind", ["flipped", "cut"])
def test_a_manifest_that_changed_is_refused(finished_copied, finished_again, kind):
    path = one(finished_copied, "runs/*/*/loss-*/manifest.json")
    damage(path, kind)
    with pytest.raises(MiaError, match=r"manifest\.json|cannot read"):
        finished_again(finished_copied)


@pytest.mark.long
def test_what_is_deleted_as_the_message_says_comes_back_the_same(copied, again, whole):
    """A finished folder without its manifest is unfinished."""
    shutil.rmtree(copied / "runs")
    for path in copied.glob("features/*/base/*/manifest.json"):
        path.unlink()
    again(copied)
    assert_same(results(whole), results(copied))


@pytest.mark.long
def test_damaged_latents_are_encoded_again(copied, again, capsys):
    """In a batch with other rows than the first time, so their last digits may differ."""
    without(copied, "runs")
    table = one(copied, "features/*/base/loss-*/features.parquet")
    expected = read_table(table)
    shutil.rmtree(table.parent)
    for i, path in enumerate(sorted(copied.glob("cache/latents/*/*"))):
        damage(path, DAMAGES[i % 3])
    again(copied)
    assert "is not what was written: encoded again" in capsys.readouterr().err
    found = read_table(table).features["loss"]
    np.testing.assert_allclose(found, expected.features["loss"], rtol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("kind", DAMAGES)
@pytest.mark.parametrize("asked_again", [(), ("runs",), ("runs", "features")])
def test_any_file_damaged_is_refused_or_changes_nothing(whole, again, tmp_path, kind, asked_again):
    """Every file there is, one after the other, with a different byte each time."""
    refused = same = 0
    expected = _without_sharing(results(whole))
    left_out = {*asked_again, "hydra", "reports", "cache"}
    files = sorted(path.relative_to(whole) for path in whole.rglob("*") if path.is_file())
    files = [name for name in files if name.parts[0] not in left_out and name.suffix != ".lock"]
    for seed, name in enumerate(files):
        outputs = without(Path(shutil.copytree(whole, tmp_path / "outputs")), *asked_again)
        damage(outputs / name, kind, seed)
        before = _bytes(outputs / name)
        message = _message(lambda outputs=outputs: again(outputs))
        if message is None:
            if _bytes(outputs / name) == before:  # nobody needed it
                shutil.copy(whole / name, outputs / name)
            assert_same(expected, _without_sharing(results(outputs)))
            same += 1
        else:
            assert len(message.splitlines()) < 4
            refused += 1
        shutil.rmtree(outputs)
    print(f"{kind}, without {asked_again}: {refused} refused, {same} identical")
    assert refused


def _bytes(path: Path) -> bytes | None:
    return path.read_bytes() if path.exists() else None


def _without_sharing(found: dict[str, Any]) -> dict[str, Any]:
    """What an attack paid for depends on which others were asked in the same pass."""
    return {
        name: {key: value for key, value in values.items() if key != "nfe_paid"}
        if name.endswith("metrics.json")
        else values
        for name, values in found.items()
    }


def _message(run: Callable[[], None]) -> str | None:
    try:
        run()
    except MiaError as error:
        return str(error)
    return None
