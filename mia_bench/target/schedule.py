"""Signal and noise levels of a model's own schedule, on whatever device the model is."""

from __future__ import annotations

from typing import TypeAlias

from torch import Tensor, nn

from mia_bench.target.diffusion import signal_and_noise
from mia_bench.target.flow_schedule import FlowSchedule, shifted


class Schedule(nn.Module):
    """Levels a_t and b_t as buffers, T + 1 float32 entries each; the last is the clean level.

    Args:
        alphas_cumprod: (T,) taken from the model's own scheduler, never rebuilt.

    `timesteps_with_signal` counts those up to the last one with some of the image left, a_t > 0: a
    schedule of zero terminal signal-to-noise ratio ends in pure noise, of which there is no
    estimate of the clean image, as (z_t - b_t eps) / a_t divides by zero.
    """

    a: Tensor
    b: Tensor

    def __init__(self, alphas_cumprod: Tensor) -> None:
        super().__init__()
        a, b = signal_and_noise(alphas_cumprod)
        self.register_buffer("a", a.float(), persistent=False)
        self.register_buffer("b", b.float(), persistent=False)
        self.timesteps = len(alphas_cumprod)
        # read once, here: reading a tensor while questions are asked would wait for the device
        self.timesteps_with_signal = int((self.a[:-1] > 0).nonzero().max()) + 1

    def levels(self, t: int | Tensor, like: Tensor) -> tuple[Tensor, Tensor]:
        """(a_t, b_t) that broadcast against `like` (B, ...): scalars, or one pair per row.

        Raises:
            ValueError: `t` is a number outside the schedule; -1, the clean level, is allowed.
        """
        a, b = self.a, self.b
        if isinstance(t, int):
            if t != -1:
                self.check(t)
            return a[t], b[t]
        # timesteps in a tensor are not checked: that would wait for the device
        shape = (-1,) + (1,) * (like.ndim - 1)
        return a[t].view(shape), b[t].view(shape)

    def network_time(self, t: Tensor) -> Tensor:
        """(B,) what the U-Net takes as time: the timestep."""
        return t

    def training_time(self, index: Tensor, shift: float = 1.0) -> Tensor:
        """(B,) timesteps to train at, from places 0 to T - 1; `shift` moves them towards noise as
        it does in flow matching, t / T in the place of sigma."""
        if shift == 1:
            return index
        noise = shifted(index.float() / self.timesteps, shift)
        return (noise * self.timesteps).long().clamp_max(self.timesteps - 1)

    def check(self, t: int) -> None:
        """Raises ValueError unless 0 <= t < timesteps: the clean level is no step of the U-Net."""
        if not 0 <= t < self.timesteps:
            raise ValueError(f"timestep {t} is outside the schedule of {self.timesteps} steps")


NoiseLevels: TypeAlias = Schedule | FlowSchedule
"""Signal and noise levels by timestep, of either kind of model."""
