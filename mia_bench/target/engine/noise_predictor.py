"""One call of the network, in its own precision and conventions, answered as eps."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from mia_bench.target.diffusion import eps_from_v, eps_from_velocity
from mia_bench.target.flow_schedule import FlowSchedule
from mia_bench.target.query import Condition
from mia_bench.target.schedule import NoiseLevels

PREDICTION_TYPES = ("epsilon", "v_prediction", "velocity")


class NetworkCall(Protocol):
    """How a family's network is called: what its U-Net or transformer predicts, (B, *latent).

    `time` is what the schedule's `network_time` gives: timesteps, or sigma of flow matching.
    """

    def __call__(
        self, network: Any, z_t: Tensor, time: Tensor, hidden: Tensor, extra: Mapping[str, Tensor]
    ) -> Tensor: ...


def call_unet(
    network: Any, z_t: Tensor, time: Tensor, hidden: Tensor, extra: Mapping[str, Tensor]
) -> Tensor:
    """diffusers' U-Nets."""
    output: Tensor = network(
        z_t,
        time,
        encoder_hidden_states=hidden,
        added_cond_kwargs=extra or None,
        return_dict=False,
    )[0]
    return output


class NoisePredictor:
    """eps_hat of one U-Net call. It neither counts nor remembers: that is the engine's work.

    Args:
        unet: the network, called by `call`.
        schedule: turns a v or velocity prediction into eps.
        prediction_type: what `call` returns, "epsilon" or "v_prediction" on a schedule of
            timesteps, "velocity" (eps - z0) on one of flow matching.
        dtype: what the U-Net computes in; everything around it is float32.
        call: how the family's network is called.

    Raises:
        ValueError: another prediction type, or one of the other kind of schedule.
    """

    def __init__(
        self,
        unet: nn.Module,
        schedule: NoiseLevels,
        prediction_type: str,
        dtype: torch.dtype,
        call: NetworkCall = call_unet,
    ) -> None:
        if prediction_type not in PREDICTION_TYPES:
            raise ValueError(
                f"prediction_type {prediction_type!r}: epsilon, v_prediction or velocity is needed"
            )
        if (prediction_type == "velocity") != isinstance(schedule, FlowSchedule):
            raise ValueError(
                f"prediction_type {prediction_type!r} on a {type(schedule).__name__}: velocity "
                "belongs to flow matching, epsilon and v_prediction to timesteps"
            )
        self.unet, self.schedule, self.call = unet, schedule, call
        self.prediction_type, self.dtype = prediction_type, dtype
        self.compile_mode: str | None = None
        self._compiled: Callable[..., Any] | None = None

    def __call__(self, z_t: Tensor, t: Tensor, cond: Condition, observed: bool = False) -> Tensor:
        """eps_hat (B, *latent) in the dtype of `z_t`; t (B,).

        Args:
            t: timesteps, or sigma itself as floats on a schedule of flow matching.
            observed: somebody watches the modules of this call, so the compiled network, whose
                hooks do not run, is not used.
        """
        prediction = self.predict(z_t, t, cond, observed)
        if self.prediction_type == "v_prediction":
            return eps_from_v(prediction, z_t, *self.schedule.levels(t, z_t))
        if self.prediction_type == "velocity":
            return eps_from_velocity(prediction, z_t, self.schedule.levels(t, z_t)[0])
        return prediction

    def predict(self, z_t: Tensor, t: Tensor, cond: Condition, observed: bool = False) -> Tensor:
        """(B, *latent) what the network itself predicts (`prediction_type`); see `__call__`."""
        compiled = None if observed or torch.is_grad_enabled() else self._compiled
        output = self.call(
            compiled or self.unet,
            z_t.to(self.dtype),
            self.schedule.network_time(t),
            cond.hidden.to(self.dtype),
            {k: v.to(self.dtype) if v.is_floating_point() else v for k, v in cond.extra.items()},
        )
        prediction: Tensor = output.to(z_t.dtype)
        # a CUDA graph writes its next output to the same place
        if compiled is not None and prediction is output:
            prediction = prediction.clone()
        return prediction

    def compile(self, mode: str) -> None:
        """torch.compile for calls without gradients that nobody observes; equal to last digits."""
        self._compiled = torch.compile(self.unet, mode=mode)
        self.compile_mode = mode
