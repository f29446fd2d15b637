"""The training objective on whatever the model predicts, against the literal sum."""

from __future__ import annotations

import torch
from encoded import RECIPE, rows, treated

from mia_bench.target.diffusion import add_noise
from mia_bench.training.batches import StepBatches
from mia_bench.training.module import FinetuneModule


def test_the_loss_is_the_literal_objective(fresh_target):
    for prediction_type in ("epsilon", "v_prediction"):
        target = fresh_target(prediction_type)
        data = rows(target, 4, "member")
        module = FinetuneModule(target, data, data, treated(RECIPE))
        batch = StepBatches(data, RECIPE, 1000).step(0)
        expected = []
        for row, t, eps in zip(batch["row"], batch["t"], batch["eps"], strict=True):
            a, b, z0 = target.a[t], target.b[t], data.z0[row]
            z_t = add_noise(z0, eps, a, b)[None]
            with torch.no_grad():
                out = target.unet(z_t, t[None], data.cond.hidden[row][None], return_dict=False)[0][
                    0
                ]
            wanted = eps if prediction_type == "epsilon" else a * eps - b * z0
            expected.append(((out - wanted) ** 2).mean())
        z0 = data.z0[batch["row"]]
        hidden = data.cond.hidden[batch["row"]]
        found = module.objective.losses(module.unet, z0, batch["t"], batch["eps"], (hidden, {}))
        assert torch.allclose(found, torch.stack(expected), rtol=1e-4)
