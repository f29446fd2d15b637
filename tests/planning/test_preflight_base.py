"""Attacks that query the model before its fine-tuning too: a base is needed, and is in the key."""

from __future__ import annotations

import pytest

from mia_bench.attacks.inversion.noise_probe import NoiseProbe
from mia_bench.attacks.loss import Loss
from mia_bench.config.schema import Evaluation
from mia_bench.planning.keys import feature_name
from mia_bench.planning.make_plan import make_plan
from mia_bench.utils.errors import MiaError

ROWS = [("x:1", "a caption")]


@pytest.mark.long
def test_without_a_base_the_plan_refuses(small, tmp_path) -> None:
    words = ("model.finetune=false", "calibration=split", "data.random_labels=true")
    with pytest.raises(MiaError, match=r"noise_probe: the model before its fine-tuning is queried"):
        make_plan(small("attack=[loss,noise_probe]", *words, outputs=tmp_path))
    make_plan(small("attack=loss", *words, outputs=tmp_path))
    make_plan(small("attack=noise_probe", outputs=tmp_path))  # fine-tuned from a base


def test_a_model_from_scratch_has_no_base_to_invert_with(small, tmp_path) -> None:
    words = ("model=ddpm", "finetune.from_scratch=true")
    with pytest.raises(MiaError, match=r"noise_probe: the model before its fine-tuning is queried"):
        make_plan(small("attack=noise_probe", *words, outputs=tmp_path))


def test_the_base_is_in_the_key_of_what_queries_it_alone() -> None:
    options = Evaluation(seed=0)
    probe = [feature_name(NoiseProbe(), ROWS, options, base) for base in ("one", "two")]
    loss = [feature_name(Loss(), ROWS, options, base) for base in ("one", "two")]
    assert probe[0] != probe[1]
    assert loss[0] == loss[1] == feature_name(Loss(), ROWS, options)
