"""Learned words embed as in diffusers' pipelines; whatever else a file holds is refused."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from diffusers import StableDiffusionPipeline
from safetensors.torch import save_file

from mia_bench.models.readers.textual_inversion import nested
from mia_bench.models.stable_diffusion import StableDiffusion
from mia_bench.planning.caption_remarks import unused_word_remarks
from mia_bench.utils.errors import MiaError

CAPTIONS = ["a photo of <toy> on a table", "<toy>", "no such word", ""]


@pytest.fixture
def word(tmp_path):
    """word(rows, name, tensors=None): a file with `rows` vectors of the first family's width."""

    def save(rows, name="<toy>", file="toy", width=16, **tensors):
        vectors = torch.randn(rows, width, generator=torch.Generator().manual_seed(rows))
        save_file(tensors or {name: vectors}, tmp_path / f"{file}.safetensors")
        return str(tmp_path / f"{file}.safetensors")

    return save


@pytest.mark.first_look
@pytest.mark.parametrize("rows", [1, 3])
def test_captions_embed_as_diffusers_embeds_them(rows, word, narrow):
    path = word(rows)
    model = StableDiffusion(str(narrow("sd1")), 64, embeddings=path)
    target = model.build(model.load_unet(), seed=0)
    plain = StableDiffusion(str(narrow("sd1")), 64)
    untaught = plain.build(plain.load_unet(), seed=0)
    pipe = StableDiffusionPipeline.from_pretrained(narrow("sd1"))
    pipe.load_textual_inversion(path)
    expected = torch.cat([pipe.encode_prompt(c, "cpu", 1, False)[0] for c in CAPTIONS])
    found = target.embed(CAPTIONS).hidden
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
    other = untaught.embed(CAPTIONS).hidden
    assert torch.equal(found[2:], other[2:])
    assert (found[:2] - other[:2]).abs().amax() > 1e-3
    assert target.pad_token == untaught.pad_token


def test_words_are_part_of_the_key(word, narrow, tmp_path):
    base = StableDiffusion(str(narrow("sd1")), 64)
    one = replace(base, embeddings=word(1))
    folder = replace(base, embeddings=str(tmp_path))
    assert folder.base_hash() == one.base_hash() != base.base_hash()
    assert one.encoder_hash() == base.encoder_hash()
    vectors = torch.zeros(1, 16)
    named = [
        replace(base, embeddings=word(1, file=name, emb_params=vectors)) for name in ("x", "y")
    ]
    assert named[0].base_hash() != named[1].base_hash()  # one content, two words


@pytest.mark.long
def test_both_encoders_of_sdxl_learn_a_word(word, narrow):
    path = word(2, file="zzq", clip_l=torch.randn(2, 16), clip_g=torch.randn(2, 24))
    model = StableDiffusion(str(narrow("sdxl")), 64, embeddings=(path,))
    plain = replace(model, embeddings=None)
    ours, theirs = (
        m.build(m.load_unet(), seed=0).embed(["a zzq", "a cat"]) for m in (model, plain)
    )
    changed = (ours.hidden - theirs.hidden).abs().amax(dim=(1,))
    assert (changed[0, :16] > 0).any()
    assert (changed[0, 16:] > 0).any()
    assert (changed[1] == 0).all()
    pooled = (ours.extra["text_embeds"] - theirs.extra["text_embeds"]).abs().amax(1)
    assert pooled[0] > 0
    assert pooled[1] == 0


@pytest.mark.first_look
@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        ({"a": torch.zeros(1, 16), "b": torch.zeros(1)}, "holds 2 tensors"),
        ({"<toy>": torch.zeros(1, 12)}, "vectors of 12 numbers and the text_encoder takes 16"),
        ({"<toy>": torch.full((1, 16), torch.nan)}, "not finite"),
        ({"two words": torch.zeros(1, 16)}, "no single word"),
        ({"cat": torch.zeros(1, 16)}, "in the vocabulary already"),
        ({"clip_l": torch.zeros(1, 16), "clip_g": torch.zeros(1, 24)}, "of another family"),
    ],
)
def test_what_is_no_learned_word_is_refused(tensors, message, word, narrow):
    model = StableDiffusion(str(narrow("sd1")), 64, embeddings=word(0, **tensors))
    with pytest.raises(MiaError, match=message):
        model.build(model.load_unet(), seed=0).embed(["a"])


@pytest.mark.parametrize("name", ["learned_embeds.bin", "/nowhere/at/all"])
def test_files_that_are_not_read(name, narrow):
    model = StableDiffusion(str(narrow("sd1")), 64, embeddings=name)
    with pytest.raises(MiaError, match=r"model\.embeddings"):
        model.base_hash()


def test_a_word_that_no_caption_holds_is_spoken_of(word, narrow):
    model = StableDiffusion(str(narrow("sd1")), 64, embeddings=(word(3), word(1, "zzq", "zzq")))
    (remark,) = unused_word_remarks(model, ["a photo of <TOY>s", "a cat"])
    assert "none of 2 captions holds the learned word 'zzq'" in remark
    assert len(list(unused_word_remarks(model, ["", ""]))) == 2
    for silent in (replace(model, embeddings=None), replace(model, embeddings="absent")):
        assert list(unused_word_remarks(silent, ["a cat"])) == []


@pytest.mark.long
def test_a_word_inside_another_is_not_taken_for_it(word, narrow):
    """<toy> is a part of <toy>2, which is a word of its own."""
    base = StableDiffusion(str(narrow("sd1")), 64)
    short, long = word(2, "<toy>", "a"), word(3, "<toy>2", "b")

    def embedded(files, *captions):
        model = replace(base, embeddings=files)
        text = model._clip_stack(model.pipeline).text(64, torch.float32)
        return text.embed(captions)[0]

    expected = embedded(long, "a <toy>2 here")
    found = embedded((short, long), "a <toy>2 here", "<toy> <toy>2", "<toy>2 <toy>2")
    assert torch.equal(found[:1], expected)
    assert not torch.equal(found[1], found[2])
    both = replace(base, embeddings=(short, long))
    assert both.learned_words() == ["<toy>", "<toy>2"]
    words = both._clip_stack(both.pipeline).words()
    assert words[2:] == [["longest first"]]  # in the key: such captions embedded otherwise before
    assert nested(["<toy>", "<toy>2"])
    assert not nested(["<toy>", "<boat>"])
