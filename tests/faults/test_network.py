"""W&B or the hub out of order: the run finishes, and its files are whole."""

from __future__ import annotations

import shutil
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from jobs import RUN, assert_same, complete, results

from mia_bench.models.hub import BUNDLED

pytestmark = pytest.mark.slow
ONLINE = tuple("logger.wandb=online" if "wandb" in word else word for word in RUN)
NOWHERE = "http://127.0.0.1:9"  # the discard port, where nothing listens


@pytest.fixture
def hanging() -> Iterator[str]:
    """A server that takes connections and never says a word."""
    server, held = socket.create_server(("127.0.0.1", 0)), []

    def accept() -> None:
        with suppress(OSError):
            while True:
                held.append(server.accept()[0])

    threading.Thread(target=accept, daemon=True).start()
    yield f"http://127.0.0.1:{server.getsockname()[1]}"
    server.shutdown(socket.SHUT_RDWR)
    for connection in (server, *held):
        connection.close()


@pytest.fixture
def answering() -> Iterator[Callable[[int, float], str]]:
    """answering(status, seconds): the address of a server that says `status` that much later."""
    servers = []

    def start(status: int, seconds: float) -> str:
        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *_: object) -> None:
                pass

            def answer(self) -> None:
                time.sleep(seconds)
                self.send_response(status)
                self.send_header("Content-Length", "0")
                with suppress(OSError):
                    self.end_headers()

            do_GET = do_POST = do_PUT = answer  # noqa: N815 - names of http.server

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
        return f"http://127.0.0.1:{server.server_address[1]}"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def mirrored(outputs: Path, address: str, whole: Path) -> str:
    """A run whose mirror is at `address`; what it said."""
    shutil.rmtree(outputs / "runs")
    env = {
        "WANDB_BASE_URL": address,
        "WANDB_API_KEY": "0" * 40,
        **dict.fromkeys(("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "HTTP_PROXY"), ""),
    }
    began = time.monotonic()
    said = complete(outputs, *ONLINE, env=env)
    print(f"{time.monotonic() - began:.0f} s with W&B at {address}")
    assert_same(results(whole), results(outputs))
    assert "Nothing is lost: the local files are the record" in said
    assert said.count("W&B: ") == 1
    assert "0" * 40 not in said
    return said


def test_wandb_is_not_there(copied, whole):
    assert "cannot be reached" in mirrored(copied, NOWHERE, whole)


def test_wandb_never_answers(copied, whole, hanging):
    mirrored(copied, hanging, whole)


@pytest.mark.parametrize(("status", "seconds"), [(500, 0.0), (401, 0.0), (503, 4.0)])
def test_wandb_rejects_and_is_slow(copied, whole, answering, status, seconds):
    mirrored(copied, answering(status, seconds), whole)


def test_the_hub_is_down_and_its_cache_is_warm(tmp_path, whole):
    """The bundled model under the name of a repository that was fetched before."""
    commit = "1234567890" * 4
    root = tmp_path / "hub" / "models--someone--tiny"
    shutil.copytree(BUNDLED / "tiny", root / "snapshots" / commit)
    (root / "refs").mkdir()
    (root / "refs" / "main").write_text(commit)
    env = {"HF_ENDPOINT": NOWHERE, "HF_HUB_CACHE": str(tmp_path / "hub"), "HF_HUB_OFFLINE": "0"}
    complete(tmp_path / "outputs", *RUN, "model.path=someone/tiny", env=env)
    assert_same(results(whole), results(tmp_path / "outputs"))
