"""Networks of the benchmark: real ones have the published sizes, small ones answer as targets."""

from __future__ import annotations

import pytest
import torch
from diffusers import SD3Transformer2DModel, UNet2DConditionModel

from mia_bench.bench.gpu import networks
from mia_bench.bench.gpu.networks import MODELS, SPECS

CPU = torch.device("cpu")
# Published: 860 M and 2.6 B parameters; Stable Diffusion 3 medium's transformer has 2.03 B.
MILLIONS = {"sd15": 859.5, "sdxl": 2567.5, "sd3": 2028.3}


@pytest.mark.parametrize("model", MODELS)
def test_real_networks_have_the_published_numbers_of_parameters(model):
    kinds = {k.__name__: k for k in (UNet2DConditionModel, SD3Transformer2DModel)}
    spec = SPECS[model]["real"]
    with torch.device("meta"):
        network = kinds[spec.network](**spec.config)
    assert networks.parameters(network) / 1e6 == pytest.approx(MILLIONS[model], abs=1.5)


@pytest.mark.parametrize("model", MODELS)
def test_small_networks_answer(model):
    workload = networks.workload(SPECS[model]["small"], 2, CPU)
    target, batch = workload.target, workload.batch
    with torch.no_grad():
        view = target.view(batch)
        eps = target.predict_noise(view.z0, 300, target.embed(batch.caption))
        image = target.decode(view.z0)
    assert eps.shape == (2, *SPECS[model]["small"].latent_shape)
    assert eps.isfinite().all()
    assert image.shape == batch.image.shape


def test_captions_are_told_apart_and_remembered():
    text = networks.DrawnText(SPECS["sdxl"]["small"])
    hidden, extra = text.embed(["a", "b", "a"])
    assert torch.equal(hidden[0], hidden[2])
    assert not torch.equal(hidden[0], hidden[1])
    assert extra["time_ids"].tolist() == [[128, 128, 0, 0, 128, 128]] * 3


def test_drawing_a_network_leaves_the_generator_alone():
    before = torch.random.get_rng_state()
    networks.network(SPECS["sd3"]["small"], CPU)
    assert torch.equal(torch.random.get_rng_state(), before)
