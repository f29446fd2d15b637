"""The recipe of the bundled model, in miniature: corpus, tokenizer, both stages, export."""

from __future__ import annotations

import io
import tarfile
from dataclasses import replace

import numpy as np
import open_clip
import pytest
import torch
from PIL import Image

from mia_bench.models.stable_diffusion import StableDiffusion
from mia_bench.pretrain import corpus as corpus_module
from mia_bench.pretrain.autoencoder import augment, train_autoencoder
from mia_bench.pretrain.corpus import Corpus, load_corpus
from mia_bench.pretrain.denoiser import TOKENS, tokenise_variants, train_denoiser
from mia_bench.pretrain.export import export
from mia_bench.pretrain.loop import learning_rate, step_generator
from mia_bench.pretrain.tokenizer import build_tokenizer


@pytest.fixture(scope="module")
def tokenizer():
    return build_tokenizer(TOKENS)


@pytest.fixture
def made() -> Corpus:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (40, 16, 16, 3), dtype=np.uint8)
    parts = tuple(("red apple", "fruit", f"number {i}") for i in range(40))
    return Corpus(images, parts, np.arange(40) < 4)


def test_token_ids_are_open_clips(tokenizer):
    texts = ["growing heart, multiple, affection", "pound banknote, british, 123's", ""]
    ours = tokenizer(texts, padding="max_length", max_length=TOKENS).input_ids
    theirs = open_clip.tokenize(texts, context_length=TOKENS).tolist()
    for row, expected in zip(ours, theirs, strict=True):
        used = [token for token in expected if token]
        assert row[: len(used)] == used
        assert set(row[len(used) :]) <= {tokenizer.eos_token_id}


def test_corpus_reads_named_untoned_pictures_only(tmp_path, monkeypatch):
    def picture(size) -> bytes:
        out = io.BytesIO()
        Image.new("RGBA", (size, size), (255, 0, 0, 128)).save(out, "PNG")
        return out.getvalue()

    with tarfile.open(tmp_path / "made-1.0.tgz", "w:gz") as tar:
        for name in ("1f34e.png", "1f44d-1f3ff.png", "notes.txt", "e000.png", "../1f34f.png"):
            data = picture(8)
            info = tarfile.TarInfo(f"package/img/{name}")
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    monkeypatch.setattr(corpus_module, "SETS", {"made@1.0": "package/img"})
    found = load_corpus(tmp_path, 16)
    assert found.parts[0][0] == "red apple"
    assert len(found.parts) == 1
    assert found.images.shape == (1, 16, 16, 3)
    assert found.images[0, 0, 0].tolist() == pytest.approx([255, 127, 127], abs=1)


def test_schedule_rises_holds_and_falls_to_zero():
    rates = [learning_rate(s, 1000, 1.0) for s in range(1000)]
    assert rates[0] == pytest.approx(1 / 200)
    assert rates[500] == 1.0
    assert rates[-1] == pytest.approx(1 / 250)
    assert learning_rate(1000, 1000, 1.0) == 0


def test_a_step_draws_the_same_numbers_whenever_it_is_taken():
    one, two = (torch.rand(3, generator=step_generator(7)) for _ in range(2))
    assert torch.equal(one, two)
    assert not torch.equal(one, torch.rand(3, generator=step_generator(8)))


def test_augmentation_keeps_the_range():
    images = torch.randint(0, 256, (8, 3, 16, 16), dtype=torch.uint8)
    out = augment(images, step_generator(0))
    assert out.shape == images.shape
    assert out.abs().max() <= 1


def test_variants_keep_the_name_and_some_keywords(made, tokenizer):
    ids = tokenise_variants(made, tokenizer)
    texts = tokenizer.batch_decode(ids[7], skip_special_tokens=True)
    assert texts[0].replace(" ,", ",") == "red apple, fruit, number 7"
    assert all(text.startswith("red apple") for text in texts)
    assert len(set(texts)) > 2


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
