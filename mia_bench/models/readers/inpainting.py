"""In-painting U-Nets as text-to-image targets: everything is masked.

Such a U-Net takes, beside the C channels of z_t, a mask (1 where it is to paint) and the latents of
the image with the masked part blanked. Masked everywhere it is the text-to-image model that it was
trained to be as well: nothing but z_t and the caption says what the image is. Masked nowhere it
would be given the image itself, and its noise prediction would say little about what it remembers.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class WholeMask:
    """A hook on `conv_in` that appends a mask of ones and the latents of a blank image.

    Args:
        blank: (1, C, h, w) scaled latents of the image of zeros, which is what masking leaves.
    """

    def __init__(self, blank: Tensor) -> None:
        self.planes = torch.cat([torch.ones_like(blank[:, :1]), blank], dim=1)

    def __call__(self, _: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        (z_t,) = inputs
        planes = self.planes.to(z_t).expand(len(z_t), -1, -1, -1)
        return (torch.cat([z_t, planes], dim=1),)


def mask_everything(unet: nn.Module, blank: Tensor) -> None:
    """Make `unet` take z_t alone; its weights and their names stay as they are."""
    conv_in: nn.Module = unet.conv_in  # type: ignore[assignment]
    conv_in.register_forward_pre_hook(WholeMask(blank))
