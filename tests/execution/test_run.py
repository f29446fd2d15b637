"""A run, end to end on real data and the bundled model, at small sizes."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pandas as pd
import pytest

from mia_bench.execution.run import execute, occupied
from mia_bench.execution.single_run import run_single
from mia_bench.metrics import Thresholds, auroc
from mia_bench.metrics.summary import evaluate
from mia_bench.planning.make_plan import make_plan
from mia_bench.storage.artifacts import seal
from mia_bench.storage.inventory import failures
from mia_bench.utils.errors import MiaError

LIST = "attack=[clid,clid_vec,loss,mc]"


@pytest.fixture(scope="module")
def finished(small, trained, tmp_path_factory):
    """One small run of four attacks; the outputs folder and its results by attack."""
    outputs = trained(tmp_path_factory.mktemp("run") / "outputs")
    results = execute(small(LIST, outputs=outputs)).results
    for part in ("features", "reports"):  # before other tests add to them
        shutil.copytree(outputs / part, at_first(outputs) / part)
    return outputs, {name: (metrics, folder) for name, metrics, folder in results}


def at_first(outputs: Path) -> Path:
    """What the run of four attacks alone left."""
    return outputs.with_name("at_first")


def artefacts(outputs: Path) -> dict[str, int]:
    return {str(p): p.stat().st_mtime_ns for p in outputs.rglob("manifest.json")}


def test_every_cell_has_its_files_and_metrics(finished):
    _, results = finished
    assert set(results) == {"clid", "clid_vec", "loss", "mc"}
    for metrics, folder in results.values():
        names = {p.name for p in folder.iterdir()}
        assert names >= {"config.yaml", "manifest.json", "scores.parquet", "metrics.json"}
        assert 0 <= metrics["auroc"]["lo"] <= metrics["auroc"]["hi"] <= 1
        assert (metrics["n_members"], metrics["n_nonmembers"]) == (12, 24)
        assert metrics["controls"]["base"]["auroc"]["value"] is not None


def test_printed_metrics_are_recomputed_from_stored_scores(finished):
    _, results = finished
    for metrics, folder in results.values():
        scores = pd.read_parquet(folder / "scores.parquet")
        rows = scores[~scores.calibration]
        assert auroc(rows.score, rows.is_member) == pytest.approx(metrics["auroc"]["value"], abs=0)
        again = evaluate(
            rows.score.to_numpy(),
            rows.is_member.to_numpy(),
            rows.group.tolist(),
            Thresholds(**metrics["thresholds"]),
            seed=0,
            n_resamples=200,
        )
        assert {k: again[k] for k in ("auroc", "asr", "tpr_at_fpr")} == {
            k: metrics[k] for k in ("auroc", "asr", "tpr_at_fpr")
        }


def test_clid_and_mc_share_queries_in_one_pass(finished):
    """mc's three questions are CLiD's conditional term; clid_vec reads clid's own features."""
    outputs, results = finished
    assert results["mc"][0]["nfe_forward"] == 3.0
    assert results["loss"][0]["nfe_forward"] == 1.0
    assert 12.0 <= results["clid"][0]["nfe_forward"] <= 15.0
    cost = {}
    for manifest in at_first(outputs).glob("features/*/*/*/manifest.json"):
        entry = json.loads(manifest.read_text())
        cost.setdefault(manifest.parent.name.partition("-")[0], []).append(entry["cost"])
    assert set(cost) == {"clid", "loss", "mc"}
    assert all(c["nfe_paid"] == 0 for c in cost["mc"] + cost["loss"])
    assert all(c["text_embeddings"] > 1 for c in cost["clid"])


def test_the_verdict_on_the_controls_is_stored_as_it_is_shown(finished):
    outputs, results = finished
    (stored,) = at_first(outputs).glob("reports/*/controls-*.json")
    told = json.loads(stored.read_text())
    controls = {name: metrics["controls"] for name, (metrics, _) in results.items()}
    expected = {f"{name} on the base": c["base"]["p_value"] for name, c in controls.items()}
    blind = {n: e["p_value"] for n, e in controls["clid"].items() if n.startswith("blind_")}
    assert told["p_values"] == expected | blind
    assert set(told["flagged"]) <= told["p_values"].keys()


def test_a_second_run_finds_everything_done(finished, small):
    outputs, results = finished
    before = artefacts(outputs)
    again = execute(small(LIST, outputs=outputs)).results
    assert artefacts(outputs) == before
    assert {name: metrics for name, metrics, _ in again} == {n: m for n, (m, _) in results.items()}


@pytest.mark.long
def test_another_alpha_asks_the_model_nothing(finished, small):
    outputs, results = finished
    before = artefacts(outputs)
    ((_, metrics, folder),) = execute(
        small("attack=clid", "attack.clid.alpha=0.3", outputs=outputs)
    ).results
    new = set(artefacts(outputs)) - set(before)
    assert new == {str(folder / "manifest.json")}
    assert metrics["chosen"] == {"alpha": 0.3}
    assert folder != results["clid"][1]


@pytest.mark.long
def test_another_eval_seed_keeps_the_fine_tunes_and_another_seed_does_not(finished, small):
    outputs, _ = finished
    first = make_plan(small("attack=loss", outputs=outputs))
    other_noise = make_plan(small("attack=loss", "eval.seed=8", outputs=outputs))
    other_seed = make_plan(small("attack=loss", "seed=8", outputs=outputs))
    assert other_noise.target == first.target
    assert not other_noise.runs[0].ready
    assert other_seed.target.key != first.target.key
    assert other_seed.base == first.base


@pytest.mark.long
def test_calibration_split_never_evaluates_on_what_it_calibrates_on(finished, small):
    outputs, _ = finished
    ((_, metrics, folder),) = execute(
        small("attack=loss", "calibration=split", outputs=outputs)
    ).results
    scores = pd.read_parquet(folder / "scores.parquet")
    counts = scores.sample_id.value_counts()
    assert counts.max() == 1
    assert metrics["n_members"] < 12


@pytest.mark.long
def test_base_calibrated_rows_subtract_before_fitting(finished, small):
    outputs, _ = finished
    results = execute(small("attack=loss", "eval.base_calibrated=true", outputs=outputs)).results
    assert [name for name, _, _ in results] == ["loss", "loss-base"]
    raw, difference = (pd.read_parquet(folder / "scores.parquet") for _, _, folder in results)
    raw = raw[raw.role.str.startswith("target")]
    expected = raw.score - raw.score_base
    assert difference.score[: len(raw)].to_numpy() == pytest.approx(expected.to_numpy(), abs=1e-6)


@pytest.mark.long
def test_the_ensemble_has_its_own_row_and_is_compared(finished, small):
    outputs, _ = finished
    results = execute(
        small("attack=[clid,loss,pia]", "eval.ensemble=true", outputs=outputs)
    ).results
    name, metrics, folder = results[-1]
    assert name == "ensemble"
    assert metrics["compared"]["best_by_calibration"]["attack"] in {"clid", "loss", "pia"}
    assert metrics["compared"]["attacks"] == 3
    scores = pd.read_parquet(folder / "scores.parquet")
    assert (~scores.calibration).sum() == 36
    assert metrics["chosen"]


@pytest.mark.long
def test_drc_leaves_pictures_beside_its_run(finished, small):
    outputs, _ = finished
    ((_, _, folder),) = execute(
        small("attack=drc_cheap", "eval.base_rows=[]", outputs=outputs)
    ).results
    pictures = {path.name for path in (folder / "evidence").glob("*.png")}
    assert "evidence.png" in pictures
    assert len(pictures) > 8


def test_access_that_is_not_allowed_is_refused_before_anything_runs(small, tmp_path):
    with pytest.raises(MiaError, match=r"eval\.access=grey_box does not allow gsa"):
        small("attack=[gsa,loss]", "eval.access=grey_box", outputs=tmp_path)


def test_a_timestep_the_schedule_does_not_have(finished, small):
    outputs, _ = finished
    with pytest.raises(MiaError, match="timestep 1000 is outside the schedule"):
        execute(small("attack=loss", "attack.loss.t=1000", outputs=outputs))


@pytest.mark.long
def test_auditing_a_model_as_it_is(small, tmp_path):
    results = execute(
        small(
            "attack=loss",
            "model.finetune=false",
            "data.random_labels=true",
            "calibration=split",
            outputs=tmp_path,
        )
    ).results
    assert "base" not in results[0][1]["controls"]
    assert not list(tmp_path.glob("targets/*/steps"))


def test_a_changed_split_is_refused(finished, small, tmp_path):
    outputs = tmp_path / "copy"
    shutil.copytree(finished[0], outputs)
    for manifest in (outputs / "splits").glob("*.json"):
        text = json.loads(manifest.read_text())
        text["rows"][0]["role"], text["rows"][1]["role"] = "target_member", "shadow_member"
        manifest.write_text(json.dumps(text))
    with pytest.raises(MiaError, match="was edited"):
        execute(small("attack=loss", outputs=outputs))


@pytest.mark.long
def test_early_stopping_attacks_the_step_it_chose(small, tmp_path, capsys):
    stopping = (
        *("attack=loss", "mitigation=early_stop", "finetune.lr=0.1", "finetune.steps=8"),
        *("mitigation.early_stop.every=1", "mitigation.early_stop.patience=1"),
        *("mitigation.early_stop.rows=4", "eval.blind_rows=false", "eval.base_rows=[]"),
    )
    ((_, _, folder),) = execute(small(*stopping, outputs=tmp_path)).results
    target = tmp_path / "targets" / folder.parts[-3]
    manifest = json.loads((target / "manifest.json").read_text())
    assert folder.parent.name == str(manifest["chosen_step"])
    assert manifest["steps"] < 8
    assert [p.name for p in (target / "steps").iterdir()] == [folder.parent.name]
    before = artefacts(tmp_path)
    run_single(small(*stopping, outputs=tmp_path))
    assert artefacts(tmp_path) == before
    assert f"done, attacked at step {folder.parent.name}" in capsys.readouterr().out
    with pytest.raises(MiaError, match=rf"Saved steps: \[{folder.parent.name}\]"):
        execute(small(*stopping, "checkpoint=8", outputs=tmp_path))


@pytest.mark.long
def test_the_outcome_has_the_plan_that_was_carried_out(finished, small, capsys):
    """Its folders are those on disk, and nothing is printed: that is for whoever calls."""
    outputs, results = finished
    capsys.readouterr()
    outcome = execute(small(LIST, outputs=outputs))
    assert capsys.readouterr().out == ""
    assert outcome.plan.table == [(name, folder) for name, _, folder in outcome.results]
    assert outcome.folders == {name: folder for name, (_, folder) in results.items()}
    assert outcome.metrics == {name: metrics for name, (metrics, _) in results.items()}
    assert outcome.plan.target.folder.is_dir()
    assert outcome.roc_figure.is_file()
    assert outcome.title == "tiny on openmoji, mitigation none, seed 0"


def test_a_run_that_is_only_planned_is_refused(small, tmp_path):
    with pytest.raises(MiaError, match="plan_only=true makes no run"):
        execute(small("plan_only=true", outputs=tmp_path))


@pytest.mark.long
def test_a_failure_is_recorded_until_the_run_succeeds(finished, small, monkeypatch):
    outputs, _ = finished
    run = small("attack=loss", "eval.resamples=110", outputs=outputs)

    def broken(*_):
        raise MiaError("no score today")

    with monkeypatch.context() as patch:
        patch.setattr("mia_bench.evaluation.score_run.score_run", broken)
        with pytest.raises(MiaError, match="no score today"):
            execute(run)
    (failure,) = failures(outputs)
    assert failure.first_line == "no score today"
    (name,) = failure.runs
    assert execute(run).folders == {"loss": outputs / name}
    assert failures(outputs) == []


@pytest.fixture
def stopping(small, tmp_path):
    """An experiment with early stopping, whose first start failed before it trained anything."""
    words = (
        *("attack=loss", "mitigation=early_stop", "finetune.steps=8", "eval.blind_rows=false"),
        *("mitigation.early_stop.every=1", "mitigation.early_stop.rows=4"),
    )
    experiment = small(*words, outputs=tmp_path)
    with pytest.raises(MiaError, match="too few rows"), occupied(make_plan(experiment)):
        raise MiaError("too few rows")
    return experiment


def test_a_failure_before_a_kill_between_two_early_stopped_trainings_is_forgotten(
    stopping, tmp_path
):
    """The next start finds one of the two steps chosen, under names that no record has."""
    begun = make_plan(stopping)
    first, second = begun.trained
    first.folder.mkdir(parents=True)  # trained, and then the process was killed
    seal(first.folder, {"chosen_step": 3})
    resumed = make_plan(stopping)
    assert resumed.table != begun.table

    def train_and_fail():
        second.folder.mkdir(parents=True)
        seal(second.folder, {"chosen_step": 2})
        raise MiaError("no score today")

    with pytest.raises(MiaError, match="no score today"), occupied(resumed):
        train_and_fail()
    assert [failure.first_line for failure in failures(tmp_path)] == ["no score today"]
    with occupied(make_plan(stopping)):
        pass
    assert failures(tmp_path) == []


def test_a_failure_after_early_stopping_is_found_by_the_next_start(stopping, tmp_path):
    """Training chooses the step, and with it the names of the runs, after the run has begun."""
    begun = make_plan(stopping)

    def train_and_fail():
        for spec in begun.trained:
            spec.folder.mkdir(parents=True)
            seal(spec.folder, {"chosen_step": 3})
        raise MiaError("no score today")

    with pytest.raises(MiaError, match="no score today"), occupied(begun):
        train_and_fail()
    (failure,) = failures(tmp_path)
    assert failure.first_line == "no score today"
    again = make_plan(stopping)
    assert [tmp_path / name for name in failure.runs] == [folder for _, folder in again.table]
    with occupied(again):
        pass
    assert failures(tmp_path) == []
