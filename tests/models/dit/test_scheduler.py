"""Where a family's pipeline samples, from its scheduler's configuration."""

from __future__ import annotations

import pytest
import torch
from diffusers import FlowMatchEulerDiscreteScheduler
from diffusers.pipelines.flux.pipeline_flux import calculate_shift

from mia_bench.models.dit.families import flux, sd3
from mia_bench.models.dit.scheduler import dynamic_shift, sampling_sigmas


@pytest.mark.parametrize("length", [16, 256, 1024, 4096])
def test_the_shift_of_an_images_size_is_diffusers(length: int) -> None:
    assert dynamic_shift({}, length) == pytest.approx(calculate_shift(length))
    config = {"base_shift": 0.2, "max_shift": 2.0, "max_image_seq_len": 6400}
    assert dynamic_shift(config, length) == pytest.approx(
        calculate_shift(length, 256, 6400, 0.2, 2.0)
    )


def test_sigmas_fall_from_noise_to_the_clean_image() -> None:
    plain = dict(FlowMatchEulerDiscreteScheduler().config)
    plain.pop("_use_default_values", None)
    plain["_class_name"] = "FlowMatchEulerDiscreteScheduler"
    shape = (16, 32, 32)
    found = sampling_sigmas(plain, flux.FAMILY, shape, 4)
    assert found.tolist() == pytest.approx([1, 0.75, 0.5, 0.25, 0])
    shifted = sampling_sigmas(plain | {"use_dynamic_shifting": True}, flux.FAMILY, shape, 4)
    assert (shifted[1:4] > found[1:4]).all()
    threefold = sampling_sigmas(plain | {"shift": 3.0}, sd3.FAMILY, shape, 4)
    assert threefold[0] == 1
    assert threefold[-1] == 0
    assert (torch.diff(threefold) < 0).all()
