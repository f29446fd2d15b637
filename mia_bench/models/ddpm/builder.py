"""Targets in pixel space without text: DDPMs (Ho et al. 2020, arXiv 2006.11239).

SecMI, PIA, noise aggregation and DRC were published on such models.

With `path=null` the base is a network of random weights, which `finetune.from_scratch` trains.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from mia_bench.models.ddpm.folder import Folder, fetch, is_checkpoint, load_exactly, locate
from mia_bench.models.ddpm.network import (
    Architecture,
    NoText,
    Pixels,
    Unconditional,
    initialised,
)
from mia_bench.models.identity import dtype_key
from mia_bench.models.readers.refusals import refuse_eight_bits
from mia_bench.models.schedule import (
    DEFAULTS,
    alphas_cumprod,
    schedule_key,
    schedule_steps,
    steps_with_signal,
)
from mia_bench.models.weight_files import contents
from mia_bench.storage.hashing import hash_key
from mia_bench.utils.errors import MiaError

if TYPE_CHECKING:
    import torch
    from torch import nn

    from mia_bench.models.ddpm.checkpoint import Layout
    from mia_bench.target import LatentStore, Target

BYTES_PER_WEIGHT = 4


@dataclass(frozen=True)
class DDPM:
    """A pixel-space DDPM.

    Args:
        path: a diffusers directory or hub id of a DDPM, a .pt file of the pytorch-ddpm code, or
            null for a network of random weights, which is trained from scratch.
        resolution: pixels per side that images are resized and cropped to.
        widths, layers, attention, head_width, norm_groups, dropout: of a network from scratch, as
            in `network.Architecture`.
        train_timesteps, beta_start, beta_end, beta_schedule: the noise schedule of such a network
            and of .pt files; a directory says its own.
        init_seed: decides its random weights.
        chunk: rows per U-Net call while scoring, "auto": the fastest, measured once on the device
            (speed and memory only).
        finetune: False audits the model as it is.
        dtype: of the U-Net while scoring; training holds float32 weights.
    """

    path: str | None
    resolution: int
    widths: tuple[int, ...] = (32, 64, 64)
    layers: int = 1
    attention: tuple[int, ...] = ()
    head_width: int | None = 8
    norm_groups: int = 8
    dropout: float = 0.0
    train_timesteps: int = 1000
    beta_start: float = 1e-4
    beta_end: float = 0.02
    beta_schedule: Literal["linear", "scaled_linear", "squaredcos_cap_v2"] = "linear"
    init_seed: int = 0
    chunk: int | Literal["auto"] = 64
    finetune: bool = True
    dtype: str = "float32"
    has_text: ClassVar[bool] = False
    has_decoder: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if self.path is None:
            self._architecture()

    @property
    def untrained(self) -> bool:
        """The base is a network of random weights."""
        return self.path is None

    def initialised_for(self, kind: str) -> DDPM:
        """The model whose random weights are those of "target" or "shadow": an attacker who trains
        a shadow does not know the target's initial weights."""
        if kind == "target" or not self.untrained:
            return self
        seed = int(hash_key(["initial weights", kind, self.init_seed]), 16) % 2**63
        return replace(self, init_seed=seed)

    def fetch(self) -> None:
        """Download what is not here. Raises Missing when it cannot be had."""
        if self.path is not None:
            fetch(self.path)

    def check(self) -> None:
        """Whether what `path` names can be read, and images of this size fit it.

        Raises:
            Missing: it is not here.
            MiaError: another layout or kind of network, or another length of the schedule.
        """
        if self.path is None:
            return
        if is_checkpoint(self.path):
            from mia_bench.models.ddpm.checkpoint import layout_at

            self._require_layout(layout_at(locate(self.path), self.path), self.path)
        else:
            folder = self._folder()
            folder.schedule()
            refuse_eight_bits(folder.weights())

    def base_hash(self) -> str:
        """Content of the weights, or what decides random ones, the schedule and the precision."""
        identity: dict[str, Any] = {"schedule": schedule_key(self._schedule())}
        identity |= dtype_key(self.dtype)
        if self.path is None:
            identity |= {"network": self._architecture().config(), "init_seed": self.init_seed}
        elif is_checkpoint(self.path):
            identity["weights"] = contents([locate(self.path)])
        else:
            folder = self._folder()
            identity |= {"network": folder.config(), "weights": contents(folder.weights())}
        return hash_key(identity)

    def encoder_hash(self) -> str:
        return hash_key({"pixels": self.resolution})

    def timesteps(self) -> int:
        return schedule_steps(self._schedule())

    def timesteps_with_signal(self) -> int:
        """Those up to the last one that is not pure noise."""
        return steps_with_signal(self._schedule())

    def latent_side(self) -> int:
        """Pixels per side: the latents are the image."""
        return self.resolution

    def unet_bytes(self) -> int:
        """Size of the U-Net's weights."""
        if self.path is not None:
            files = [locate(self.path)] if is_checkpoint(self.path) else self._folder().weights()
            return sum(file.stat().st_size for file in files)
        import torch
        from diffusers import UNet2DModel

        with torch.device("meta"):
            net = UNet2DModel(**self._architecture().config())
        weights = sum(int(p.numel()) for p in net.parameters())
        return BYTES_PER_WEIGHT * weights

    def load_unet(self, weights: Path | None = None, train: bool = False) -> nn.Module:
        """The base's network, or the one that was trained into `weights`."""
        dtype = self._dtype("float32" if train else self.dtype)
        if weights is not None:
            net = load_exactly(weights, dtype)
        elif self.path is None:
            net = initialised(self._architecture().config(), self.init_seed, dtype)
        elif is_checkpoint(self.path):
            net = self._from_checkpoint(self.path).to(dtype)
        else:
            net = self._folder().load(dtype)
        return Unconditional(net)

    def build(self, unet: nn.Module, seed: int, store: LatentStore | None = None) -> Target:
        from mia_bench.target import Target

        schedule = self._schedule()
        return Target(
            unet,
            Pixels(),
            NoText(),
            (3, self.resolution, self.resolution),
            alphas_cumprod(schedule),
            schedule["prediction_type"],
            seed,
            None if self.chunk == "auto" else self.chunk,
            store,
            self._dtype(self.dtype),
        ).eval()

    def _architecture(self) -> Architecture:
        return Architecture(
            self.resolution,
            self.widths,
            self.layers,
            self.attention,
            self.head_width,
            self.norm_groups,
            self.dropout,
        )

    def _folder(self) -> Folder:
        """Raises MiaError where the images do not fit the network."""
        assert self.path is not None
        folder = Folder.at(self.path, locate(self.path))
        self._require_fitting(len(folder.config()["block_out_channels"]))
        return folder

    def _require_fitting(self, levels: int) -> None:
        shrink = 2 ** (levels - 1)
        if self.resolution % shrink:
            raise MiaError(
                f"model.resolution={self.resolution} does not fit the {levels} levels of "
                f"{self.path}: it must be a multiple of {shrink}."
            )

    def _from_checkpoint(self, path: str) -> Any:
        """Raises MiaError unless the file is of the layout, and `_require_layout`."""
        from mia_bench.models.ddpm.checkpoint import converted, read_checkpoint

        layout, weights = converted(read_checkpoint(locate(path)), path)
        self._require_layout(layout, path)
        net = initialised(layout.config(), 0, self._dtype("float32"))
        net.load_state_dict(weights)
        return net

    def _require_layout(self, layout: Layout, path: str) -> None:
        """Raises MiaError unless images fit the layout, and its schedule is as long as ours."""
        self._require_fitting(len(layout.widths))
        if layout.timesteps != self.train_timesteps:
            raise MiaError(
                f"{path} was trained on {layout.timesteps} timesteps: use "
                f"model.train_timesteps={layout.timesteps}."
            )

    def _schedule(self) -> dict[str, Any]:
        if self.path is not None and not is_checkpoint(self.path):
            return self._folder().schedule()
        return {
            **DEFAULTS,
            "num_train_timesteps": self.train_timesteps,
            "beta_start": self.beta_start,
            "beta_end": self.beta_end,
            "beta_schedule": self.beta_schedule,
        }

    def _dtype(self, name: str) -> torch.dtype:
        import torch

        dtype = getattr(torch, name, None)
        if not isinstance(dtype, torch.dtype) or not dtype.is_floating_point:
            raise MiaError(f"model.dtype={name}: use float32, float16 or bfloat16")
        return dtype
