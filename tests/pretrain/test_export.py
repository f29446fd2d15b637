"""Both stages in miniature, and the export that diffusers loads."""

from __future__ import annotations

from dataclasses import replace

import torch

from mia_bench.models.stable_diffusion import StableDiffusion
from mia_bench.pretrain.autoencoder import train_autoencoder
from mia_bench.pretrain.denoiser import train_denoiser
from mia_bench.pretrain.export import export


def test_both_stages_and_the_export_give_a_loadable_model(made, tmp_path):
    vae = train_autoencoder(made, tmp_path, steps=2, batch_size=4)
    denoiser = train_denoiser(made, vae, tmp_path, steps=2, batch=4)
    export(denoiser, vae, tmp_path / "bundle")
    model = StableDiffusion(str(tmp_path / "bundle"), resolution=16)
    target = model.build(model.load_unet(), seed=0)
    with torch.no_grad():
        image = target.generate(["red apple"], seed=0, steps=2)
    assert image.shape == (1, 3, 16, 16)
    assert replace(model, resolution=16).base_hash()
    # Started again, both stages find their work done.
    again = train_autoencoder(made, tmp_path, steps=2, batch_size=4)
    for one, two in zip(vae.parameters(), again.parameters(), strict=True):
        assert torch.allclose(one.float(), two, atol=1e-2)  # the first was cast to float16
