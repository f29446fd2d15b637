"""A finished fine-tune beside the model it was made from: model.base."""

from __future__ import annotations

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from mia_bench.execution.run import execute
from mia_bench.models.hub import BUNDLED
from mia_bench.utils.errors import MiaError

AUDIT = (
    *("model.finetune=false", "data.random_labels=true", "calibration=split"),
    *("eval.blind_rows=false", "attack=[loss,mc]"),
)


@pytest.fixture(scope="module")
def tuned(tmp_path_factory):
    """The bundled model with other weights in its U-Net, as after a fine-tune."""
    folder = tmp_path_factory.mktemp("tuned") / "tiny"
    shutil.copytree(BUNDLED / "tiny", folder)
    path = folder / "unet" / "diffusion_pytorch_model.safetensors"
    generator = torch.Generator().manual_seed(0)
    weights = {
        name: (w.float() * (1 + 0.2 * torch.randn(w.shape, generator=generator))).to(w)
        for name, w in load_file(path).items()
    }
    save_file(weights, path, {"format": "pt"})
    return folder


def audit(tuned, *more):
    return (*AUDIT, f"model.path={tuned}", "model.base=bundled:tiny", *more)


def test_the_base_is_another_model_and_a_control(tuned, plan_of):
    plan, alone = plan_of(*audit(tuned)), plan_of(*AUDIT, f"model.path={tuned}")
    default = plan_of("attack=loss")
    assert plan.target.key == alone.target.key
    assert plan.base.key == default.base.key != plan.target.key
    assert all(run.base is not None and run.base.model == plan.base for run in plan.runs)
    assert all(run.base is None for run in alone.runs)
    assert plan.runs[0].folder != alone.runs[0].folder
    names = [run.name for run in plan_of(*audit(tuned, "eval.base_calibrated=true")).runs]
    assert names == ["loss", "loss-base", "mc", "mc-base"]
    assert [r.base is None for r in plan_of(*audit(tuned, "eval.base_rows=[mc]")).runs] == [1, 0]


@pytest.mark.long
def test_scores_are_those_of_the_two_models_run_apart(tuned, small, tmp_path):
    """score_base is what the attack gives on the base alone; `-base` is the difference."""
    words = ("attack=loss", "eval.base_calibrated=true")
    both = execute(small(*audit(tuned, *words), outputs=tmp_path)).folders
    apart = {
        name: execute(
            small(*AUDIT, "attack=loss", f"model.path={path}", outputs=tmp_path / name)
        ).folders["loss"]
        for name, path in (("target", tuned), ("base", "bundled:tiny"))
    }
    import pandas as pd

    scores = {n: pd.read_parquet(f / "scores.parquet").score for n, f in apart.items()}
    whole = pd.read_parquet(both["loss"] / "scores.parquet")
    pd.testing.assert_series_equal(whole.score, scores["target"])
    evaluated = ~whole.calibration
    torch.testing.assert_close(
        torch.tensor(whole.score_base[evaluated].to_numpy()),
        torch.tensor(scores["base"][evaluated].to_numpy()),
    )
    difference = pd.read_parquet(both["loss-base"] / "scores.parquet").score
    expected = scores["target"] - scores["base"]
    torch.testing.assert_close(torch.tensor(difference), torch.tensor(expected), atol=1e-6, rtol=0)
    controls = json.loads((both["loss"] / "metrics.json").read_text())["controls"]
    assert 0 <= controls["base"]["p_value"] <= 1


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("eval.base_calibrated=true",), r"no such model is known: name it, as in model\.base="),
        (("eval.base_rows=[loss]",), r"eval\.base_rows compares .* model\.base="),
        (("model.base=bundled:tiny",), r"model\.base is the same model as model\.path"),
        (("model.base=bundled:huge",), "neither a folder nor the id"),
    ],
)
def test_a_comparison_without_a_base_is_refused(words, message, plan_of):
    with pytest.raises(MiaError, match=message):
        plan_of(*AUDIT, *words).target  # noqa: B018  keys of models are made when asked for


def test_a_base_beside_a_fine_tune_to_come_is_refused(experiment):
    with pytest.raises(MiaError, match=r"the base is model\.path itself"):
        experiment("model.base=bundled:tiny")


@pytest.mark.long
def test_what_cannot_be_asked_alike_is_no_base(tuned, plan_of, tmp_path):
    shutil.copytree(BUNDLED / "tiny", tmp_path / "short")
    path = tmp_path / "short" / "scheduler" / "scheduler_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "num_train_timesteps": 500}))
    with pytest.raises(MiaError, match=r"model\.base has 500 timesteps and the model has 1000"):
        plan_of(*audit(tuned)[:-1], f"model.base={tmp_path / 'short'}")
    path.write_text(json.dumps({**json.loads(path.read_text()), "prediction_type": "sample"}))
    with pytest.raises(MiaError, match="prediction_type=sample"):
        plan_of(*audit(tuned)[:-1], f"model.base={tmp_path / 'short'}")
