"""One call of the U-Net, in its own precision and conventions, answered as eps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from mia_bench.target.diffusion import eps_from_v
from mia_bench.target.query import Condition
from mia_bench.target.schedule import Schedule

PREDICTION_TYPES = ("epsilon", "v_prediction")


class NoisePredictor:
    """eps_hat of one U-Net call. It neither counts nor remembers: that is the engine's work.

    Args:
        unet: a module with diffusers' U-Net call signature.
        schedule: turns a v prediction into eps.
        prediction_type: what the U-Net returns, "epsilon" or "v_prediction".
        dtype: what the U-Net computes in; everything around it is float32.

    Raises:
        ValueError: another prediction type.
    """

    def __init__(
        self, unet: nn.Module, schedule: Schedule, prediction_type: str, dtype: torch.dtype
    ) -> None:
        if prediction_type not in PREDICTION_TYPES:
            raise ValueError(
                f"prediction_type {prediction_type!r}: epsilon or v_prediction is needed"
            )
        self.unet, self.schedule = unet, schedule
        self.prediction_type, self.dtype = prediction_type, dtype
        self.compile_mode: str | None = None
        self._compiled: Callable[..., Any] | None = None

    def __call__(self, z_t: Tensor, t: Tensor, cond: Condition, observed: bool = False) -> Tensor:
        """eps_hat (B, *latent) in the dtype of `z_t`; t (B,).

        Args:
            observed: somebody watches the modules of this call, so the compiled network, whose
                hooks do not run, is not used.
        """
        compiled = None if observed or torch.is_grad_enabled() else self._compiled
        output = (compiled or self.unet)(
            z_t.to(self.dtype),
            t,
            encoder_hidden_states=cond.hidden.to(self.dtype),
            added_cond_kwargs={k: v.to(self.dtype) for k, v in cond.extra.items()} or None,
            return_dict=False,
        )[0]
        prediction: Tensor = output.to(z_t.dtype)
        # a CUDA graph writes its next output to the same place
        if compiled is not None and prediction is output:
            prediction = prediction.clone()
        if self.prediction_type == "v_prediction":
            return eps_from_v(prediction, z_t, *self.schedule.levels(t, z_t))
        return prediction

    def compile(self, mode: str) -> None:
        """torch.compile for calls without gradients that nobody observes; equal to last digits."""
        self._compiled = torch.compile(self.unet, mode=mode)
        self.compile_mode = mode
