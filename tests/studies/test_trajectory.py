"""Trajectories: one fine-tune attacked at every checkpoint, and the figure with its numbers."""

from __future__ import annotations

import json

import pytest

from mia_bench.display.results_table import utility_line
from mia_bench.studies.trajectory import run
from mia_bench.utils.errors import MiaError

CHOICES = (
    "attack=loss",
    "finetune.save_at=[1,2]",
    "finetune.val_every=1",
    "finetune.val_rows=4",
    "eval.utility_images=8",
    "eval.blind_rows=false",
)


@pytest.fixture(scope="module")
def drawn(small_overrides, tmp_path_factory):
    outputs = tmp_path_factory.mktemp("outputs")
    return outputs, run([*small_overrides, *CHOICES, f"paths.outputs={outputs}"])


@pytest.mark.long
def test_checkpoints_share_one_fine_tune(drawn):
    outputs, _ = drawn
    manifests = sorted((outputs / "targets").glob("*/manifest.json"))
    assert len(manifests) == 2  # the target and its shadow
    target = [json.loads(p.read_text()) for p in manifests]
    assert {about["steps"] for about in target} == {4}
    for step in ("1", "2", "4"):
        assert len(list((outputs / "runs").glob(f"*/{step}/loss-*/metrics.json"))) == 1
    weights = {f.read_bytes() for f in outputs.glob("targets/*/steps/*/*.safetensors")}
    assert len(weights) == 6


@pytest.mark.long
def test_what_is_drawn_is_stored_and_is_the_runs(drawn):
    outputs, figure = drawn
    found = json.loads((figure.parent / "trajectory.json").read_text())
    assert [row["step"] for row in found["attacks"]["loss"]] == [0, 1, 2, 4]
    for row in found["attacks"]["loss"][1:]:
        (path,) = (outputs / "runs").glob(f"*/{row['step']}/loss-*/metrics.json")
        assert json.loads(path.read_text())["auroc"] == row["auroc"]
    assert [row["step"] for row in found["utility"]] == [None, 1, 2, 4]
    assert [row["step"] for row in found["validation"]] == [1, 2, 3, 4]
    losses = [row["val_heldout"] for row in found["validation"]]
    assert found["chosen"] == 1 + losses.index(min(losses))
    assert found["steps_per_epoch"] == 12 / 8
    assert figure.read_bytes()[:4] == b"\x89PNG"
    assert "<svg" in figure.with_suffix(".svg").read_text()
    assert (figure.parent / "onsets.png").read_bytes()[:4] == b"\x89PNG"


@pytest.mark.long
def test_utility_of_the_base_and_of_every_checkpoint_is_kept(drawn):
    outputs, _ = drawn
    files = list((outputs / "utility").glob("*/*/*/utility.json"))
    assert sorted(p.parts[-3] for p in files) == ["1", "2", "4", "base"]
    for path in files:
        found = json.loads(path.read_text())
        assert found["n_images"] == found["n_members"] == 8
        assert str(found["step"] or "base") == path.parts[-3]
        assert f"held-out loss {found['heldout_loss']:.4g}" in utility_line(path.parent)
        assert (path.parent / "samples.png").is_file()


def test_a_trajectory_without_checkpoints_is_refused(small_overrides, tmp_path):
    with pytest.raises(MiaError, match=r"add finetune\.save_at="):
        run([*small_overrides, f"paths.outputs={tmp_path}"])


def test_a_trajectory_without_utility_is_refused_before_anything_is_trained(
    small_overrides, tmp_path
):
    words = [*small_overrides, *CHOICES, f"paths.outputs={tmp_path}", "eval.utility=false"]
    with pytest.raises(MiaError, match=r"leave eval\.utility=false out"):
        run(words)
    assert not (tmp_path / "targets").exists()
