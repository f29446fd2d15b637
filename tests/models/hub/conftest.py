"""An empty cache of the hub, and a hub served from this machine."""

from __future__ import annotations

import hashlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from huggingface_hub import constants

COMMIT = "1234567890" * 4


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch) -> Path:
    """An empty hub cache, and a hub that nothing answers for."""
    folder = tmp_path / "cache"
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(folder))
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    return folder


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
