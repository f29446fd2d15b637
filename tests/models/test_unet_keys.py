"""What is in the keys of a model, and what only enters where it is not as it always was."""

from __future__ import annotations

from mia_bench.models.stable_diffusion import StableDiffusion
from mia_bench.models.unet_keys import encoder_key, networks_key
from mia_bench.models.weight_files import contents

TINY = StableDiffusion("bundled:tiny", 64)


def test_a_plain_model_is_the_content_of_its_weights() -> None:
    pipeline = TINY.pipeline
    files = [file for part in pipeline.networks for file in pipeline.parts.weights(part)]
    assert networks_key(pipeline, {}, None, None) == contents(files) == TINY.base_hash()


def test_learned_words_and_guidance_enter_where_there_are_any() -> None:
    pipeline = TINY.pipeline
    keys = {
        networks_key(pipeline, {}, words, guidance)
        for words in (None, [["<cat>", "0123"]])
        for guidance in (None, 7.0)
    }
    assert len(keys) == 4


def test_the_encoder_goes_by_resolution_precision_and_tiling() -> None:
    usual = encoder_key(TINY.pipeline, 64, "float32", False)
    assert usual == TINY.encoder_hash()
    others = [(32, "float32", False), (64, "float16", False), (64, "float32", True)]
    assert len({usual, *(encoder_key(TINY.pipeline, *other) for other in others)}) == 4
