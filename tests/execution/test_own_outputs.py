"""eval.own_outputs: pictures that the target generates, attacked, scored, shown and verified."""

from __future__ import annotations

import json
import shutil
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from mia_bench.data.split.roles import Role
from mia_bench.display.results_table import comparisons, rows
from mia_bench.execution.loading import scoring_model
from mia_bench.execution.run import RunOutcome, execute
from mia_bench.planning.describe import describe_plan
from mia_bench.planning.make_plan import make_plan
from mia_bench.planning.parts.own_outputs import STEPS
from mia_bench.storage.index import runs
from mia_bench.target.diffusion import keyed_noise
from mia_bench.verification.checks import checks
from mia_bench.verification.result import DIFFERS
from mia_bench.verification.stored_run import StoredRun

ATTACKS = ("attack=[loss,clid,gsa]", "attack.gsa.n_timesteps=1", "eval.base_rows=[]")
ASKED = (*ATTACKS, "eval.own_outputs=true", "eval.own_outputs_images=7", "eval.blind_rows=false")


@pytest.fixture(scope="module")
def asked(small, trained, tmp_path_factory) -> RunOutcome:
    outputs = trained(tmp_path_factory.mktemp("own") / "outputs")
    return execute(small(*ASKED, outputs=outputs))


def test_the_plan_says_what_it_costs_before_it_runs(small, tmp_path):
    plan = make_plan(small(*ASKED, outputs=tmp_path))
    lines = list(describe_plan(plan))
    generating = "generate target: 7 pictures from captions of non-members; 140 U-Net evaluations"
    assert generating in lines
    assert "extract target: 7 own outputs, loss, clid; at most 112 U-Net evaluations" in lines


def test_pictures_are_the_targets_own(asked):
    own = asked.plan.own_outputs
    assert own is not None
    nonmembers = asked.plan.rows(Role.TARGET_NONMEMBER)
    assert own.source_id == nonmembers[:7]
    with scoring_model(asked.plan, asked.plan.target) as target, torch.no_grad():
        key = f"generate:{own.source_id[3]}"
        noise = keyed_noise(target.seed, key, None, 0, target.latent_shape)
        z, cond = noise[None], target.embed([own.caption[3]])
        path = torch.linspace(999, 0, STEPS).round().int().tolist()
        for t, s in zip(path, [*path[1:], -1], strict=True):
            z = target.denoise(z, t, s, cond)
        expected = ((target.decode(z)[0] + 1) * 127.5).round()
    with Image.open(own.picture(3)) as picture:
        found = torch.from_numpy(np.array(picture)).permute(2, 0, 1)
    # last digits of float32 after twenty steps, which other numbers of rows round otherwise
    assert (found - expected).abs().max() <= 2
    manifest = json.loads((own.folder / "manifest.json").read_text())
    assert [row["source_id"] for row in manifest["rows"]] == list(own.source_id)


def test_grey_box_attacks_alone_are_carried_out_on_them(asked):
    assert {run.name for run in asked.plan.runs if run.own_outputs} == {"loss", "clid"}
    assert {name for name, m in asked.metrics.items() if "own_outputs" in m} == {"loss", "clid"}


def test_scores_are_those_of_the_attack_and_called_members_by_hand(asked):
    folder, metrics = asked.folders["loss"], asked.metrics["loss"]["own_outputs"]
    stored = pd.read_parquet(folder / "own_outputs.parquet")
    assert list(stored) == ["sample_id", "source_id", "group", "score"]
    scores = pd.read_parquet(folder / "scores.parquet")
    others = scores[~scores.calibration & ~scores.is_member].score.to_numpy()
    above = [(score > others).sum() + (score == others).sum() / 2 for score in stored.score]
    assert metrics["auroc"] == pytest.approx(sum(above) / (7 * len(others)))
    assert metrics["n"] == 7
    # twelve calibration non-members allow no false positive
    assert metrics["called_members"]["0.01"]["value"] is None
    (spec,) = (run.own_outputs for run in asked.plan.runs if run.name == "loss")
    assert spec is not None
    assert stored.sample_id.tolist() == list(spec.sample_id)


def test_keys_and_tables_stay_without_it(asked, small):
    outputs = asked.plan.outputs
    plain = make_plan(small(*ATTACKS, "eval.blind_rows=false", outputs=outputs))
    assert plain.own_outputs is None
    assert {r.folder for r in plain.runs if r.name == "gsa"} == {asked.folders["gsa"]}
    changed = {r.name: r.folder for r in plain.runs if r.name != "gsa"}
    assert all(folder != asked.folders[name] for name, folder in changed.items())
    for run in plain.runs:  # what was extracted of data rows serves both
        assert all(spec.ready for spec in run.feature_specs())


def test_the_table_and_the_sentence_show_them(asked):
    lines = rows("loss", asked.metrics["loss"])
    assert [line[0] for line in lines] == ["loss", "  own outputs"]
    assert f"{asked.metrics['loss']['own_outputs']['auroc']:.3f}" in lines[1]
    (sentence,) = (s for s in comparisons(asked.results) if s.startswith("loss: of 7 pictures"))
    assert "no threshold at 1% FPR (12 non-members allow no false positive" in sentence


def states(folder: Any) -> dict[str, tuple[str, str]]:
    (ref,) = (r for r in runs(folder.parents[3]) if r.folder == folder)
    return {check.name: (check.state, check.message) for check in checks(StoredRun(ref))}


def test_verify_computes_them_again(asked):
    for name in ("loss", "clid"):
        found = states(asked.folders[name])
        assert {check: state for check, (state, _) in found.items() if state != "ok"} == {}


@pytest.mark.long
def test_a_second_run_generates_and_asks_nothing(asked, small, monkeypatch):
    monkeypatch.setattr(
        "mia_bench.execution.own_outputs.draw_pictures", lambda *_: pytest.fail("generated again")
    )
    again = execute(small(*ASKED, outputs=asked.plan.outputs))
    assert again.metrics == asked.metrics


@pytest.mark.long
def test_verify_sees_what_was_changed(asked, tmp_path):
    outputs = tmp_path / "outputs"
    shutil.copytree(asked.plan.outputs, outputs)
    folder = outputs / asked.folders["loss"].relative_to(asked.plan.outputs)
    path = folder / "own_outputs.parquet"
    stored = pd.read_parquet(path)
    stored.assign(score=stored.score[::-1].to_numpy()).to_parquet(path, index=False)
    found = states(folder)
    assert found["files"][0] == found["scores"][0] == DIFFERS
    assert "the target's own outputs" in found["scores"][1]
    member = asked.plan.rows(Role.TARGET_MEMBER)[0]
    stored.assign(source_id=member).to_parquet(path, index=False)
    assert f"{member} is no evaluation non-member" in states(folder)["scores"][1]
    assert "7 scored pictures are not listed" in states(folder)["pictures"][1]


@pytest.mark.long
def test_verify_sees_a_picture_that_was_changed(asked, tmp_path):
    outputs = tmp_path / "outputs"
    shutil.copytree(asked.plan.outputs, outputs)
    folder = outputs / asked.folders["loss"].relative_to(asked.plan.outputs)
    assert states(folder)["pictures"][0] == "ok"
    generated = outputs / asked.plan.own_outputs.folder.relative_to(asked.plan.outputs)
    Image.new("RGB", (8, 8)).save(generated / "00003.png")
    state, message = states(folder)["pictures"]
    assert state == DIFFERS
    assert f"{generated.name}/00003.png changed since it was written" in message
    shutil.rmtree(generated)
    assert "not here any more" in states(folder)["pictures"][1]
