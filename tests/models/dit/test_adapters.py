"""The seams load a part when it is first used, and put latents into the family's units."""

from __future__ import annotations

import torch
from dit_pipelines import autoencoder, qwen_image

from mia_bench.models.dit.adapters import PipelineText, UnitCodec
from mia_bench.models.dit.family import LatentUnits


def test_an_autoencoder_is_loaded_once_and_its_units_come_back() -> None:
    loads: list[int] = []
    vae = autoencoder()
    codec = UnitCodec(lambda: loads.append(1) or vae, LatentUnits(4, 2, 0.06, 1.5))
    assert not loads
    image = torch.rand(2, 3, 16, 16) * 2 - 1
    mode = vae.encode(image).latent_dist.mode()
    assert torch.allclose(codec.encode(image), (mode - 0.06) * 1.5, atol=1e-5)
    assert torch.allclose(codec.decode((mode - 0.06) * 1.5), vae.decode(mode).sample, atol=1e-4)
    assert loads == [1]


def test_one_frame_of_an_autoencoder_of_videos() -> None:
    vae = qwen_image().vae
    codec = UnitCodec(lambda: vae, LatentUnits(4, 4, [1.0, 0, 0, 0], [1.0, 2, 1, 1]))
    z0 = codec.encode(torch.zeros(1, 3, 32, 32))
    mode = vae.encode(torch.zeros(1, 3, 1, 32, 32)).latent_dist.mode()[:, :, 0]
    assert torch.allclose(z0[:, 0], mode[:, 0] - 1, atol=1e-5)
    assert torch.allclose(z0[:, 1], 2 * mode[:, 1], atol=1e-5)
    assert codec.decode(z0).shape == (1, 3, 32, 32)


def test_captions_go_through_in_parts() -> None:
    class Pipe:
        def __init__(self) -> None:
            self.components: dict[str, object] = {}

    calls: list[int] = []

    def embed(
        pipe: object, captions: list[str], device: torch.device, tokens: int
    ) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        assert isinstance(pipe, Pipe)
        assert device.type == "cpu"
        calls.append(len(captions))
        rows = torch.ones(len(captions), tokens, 2, dtype=torch.bfloat16)
        return rows, {"mask": rows[..., 0] > 0, "pooled": rows[:, 0]}

    hidden, extra = PipelineText(Pipe, embed, 3).embed(["a"] * 40)
    assert calls == [32, 8]
    assert (hidden.dtype, extra["pooled"].dtype) == (torch.float32, torch.float32)
    assert extra["mask"].dtype == torch.bool
