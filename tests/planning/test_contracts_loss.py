"""The loss on clean latents is refused in the plan for models that are not of flow matching."""

from __future__ import annotations

import pytest

from mia_bench.planning.contracts import check_loss
from mia_bench.utils.errors import MiaError

REFUSED = r"finetune\.loss=clean .* on betas.*finetune\.loss=native"


ON_BETAS = {
    "tiny": ("model=tiny",),
    "pixart": ("model=pixart_alpha", "finetune.epochs=null"),
    "ddpm": ("model=ddpm", "finetune.from_scratch=true"),
}


@pytest.mark.parametrize("model", ON_BETAS.values(), ids=ON_BETAS)
def test_models_on_betas_are_refused_before_anything_is_loaded(model, small, tmp_path) -> None:
    with pytest.raises(MiaError, match=REFUSED):
        small(*model, "attack=loss", "finetune.loss=clean", outputs=tmp_path)


def test_flow_matching_has_it_and_an_audit_trains_nothing(small, tmp_path) -> None:
    run = small("model=sd3", "attack=loss", "finetune.epochs=null", outputs=tmp_path)
    assert run.options.finetune.loss == "clean"
    check_loss(run.options, run.model)
    audited = small("attack=loss", "calibration=split", "model.finetune=false", outputs=tmp_path)
    audited.options.finetune.loss = "clean"
    check_loss(audited.options, audited.model)
