"""What configurations say, on small directories of diffusers and on edited copies."""

from __future__ import annotations

import json
import shutil

import pytest
from diffusers import AutoencoderKL

from mia_bench.models.readers.parts import Parts
from mia_bench.models.readers.unet_pipeline import UnetPipeline, checked_family
from mia_bench.utils.errors import MiaError


@pytest.fixture
def copied(narrow, tmp_path):
    """copied(family): its directory, which may be written to."""
    return lambda family: shutil.copytree(narrow(family), tmp_path / family)


def edit(path, **options):
    path.write_text(json.dumps({**json.loads(path.read_text()), **options}))


@pytest.mark.parametrize(("family", "encoders"), [("sd1", 1), ("sdxl", 2)])
def test_a_directory_is_read_as_diffusers_reads_it(family, encoders, narrow):
    pipeline = UnetPipeline(Parts(narrow(family)), "here")
    vae = AutoencoderKL.from_pretrained(narrow(family), subfolder="vae")
    assert len(pipeline.encoders) == encoders
    assert pipeline.networks == ("unet", "vae", *pipeline.encoders)
    assert pipeline.latent_scale() == vae.config.scaling_factor
    assert pipeline.channels() == vae.config.latent_channels
    assert pipeline.shrink() == 2 ** (len(vae.config.block_out_channels) - 1)
    pipeline.check_unet()


def test_a_sample_size_that_is_no_number_says_no_resolution(copied):
    folder = copied("sd1")
    pipeline = UnetPipeline(Parts(folder), "here")
    edit(folder / "unet" / "config.json", sample_size=8)
    assert pipeline.sample_side() == 8 * pipeline.shrink()
    edit(folder / "unet" / "config.json", sample_size=[8, 16])
    with pytest.raises(MiaError, match=r"U-Net of here has sample_size=\[8, 16\]"):
        pipeline.sample_side()


def test_shifted_latents_and_other_families_are_refused(copied):
    folder = copied("sd1")
    edit(folder / "vae" / "config.json", shift_factor=0.1)
    with pytest.raises(MiaError, match="shifts its latents"):
        UnetPipeline(Parts(folder), "here").shrink()
    index = {"_class_name": "StableDiffusionPipeline"}
    with pytest.raises(MiaError, match="not a StableDiffusionXLPipeline: use model=sdxl"):
        checked_family(index, "here", "StableDiffusionXLPipeline")


def test_a_unet_for_texts_of_another_width_is_refused_before_anything_is_loaded(copied):
    folder = copied("sd1")
    edit(folder / "unet/config.json", cross_attention_dim=47)
    with pytest.raises(MiaError, match="reads texts of 47 numbers a token, and the text encoders"):
        UnetPipeline(Parts(folder), "here").check_unet("checkpoint-500")
