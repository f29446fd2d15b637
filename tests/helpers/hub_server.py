"""A model hub on this machine: repositories served from folders in the protocol of the real one.

    api/models/<id>[/revision/<rev>]           what is there; api/datasets/... likewise
    api/models/<id>/tree/<rev>                 its files with sizes and digests
    <id>/resolve/<rev>/<file>                  HEAD: commit, etag, size; GET: bytes, or a range
    datasets/<id>/resolve/<rev>/<file>

A repository may be gated, moved (answered by 307 to its new id), or absent; files may break off in
the middle, and requests may be answered by a status of one's choice, each a number of times.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

KINDS = ("models", "datasets")
TOKEN = "hf_of_somebody_who_was_let_in"


@dataclass
class Repository:
    """A folder under a commit. `gated`: its files need TOKEN; what is told about it does not."""

    folder: Path
    commit: str
    gated: bool = False
    licence: str = "mit"

    def files(self) -> dict[str, Path]:
        found = (path for path in sorted(self.folder.rglob("*")) if path.is_file())
        return {path.relative_to(self.folder).as_posix(): path for path in found}


@dataclass
class Hub:
    """What is served, and what was asked for (`requests`: method and path without a query).

    Args:
        repositories: by kind and id, as ("models", "owner/name").
        moved: old id -> new id, of models.
        breaking: name of a file -> how many times its transfer ends half-way.
        statuses: (part of a path, status) -> how many times that is the answer.
    """

    address: str = ""
    repositories: dict[tuple[str, str], Repository] = field(default_factory=dict)
    moved: dict[str, str] = field(default_factory=dict)
    breaking: Counter[str] = field(default_factory=Counter)
    statuses: Counter[tuple[str, int]] = field(default_factory=Counter)
    requests: list[str] = field(default_factory=list)

    def env(self, cache: Path, **more: str) -> dict[str, str]:
        """What a process needs to meet this hub and no other, with an empty login."""
        return {
            "HF_ENDPOINT": self.address,
            "HF_HOME": str(cache / "home"),
            "HF_HUB_CACHE": str(cache),
            "HF_HUB_OFFLINE": "0",
            "HF_HUB_DISABLE_XET": "1",
            "HF_TOKEN": "",
            **dict.fromkeys(("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "HTTP_PROXY"), ""),
            **more,
        }

    def downloads(self) -> list[str]:
        """Names of the files whose bytes were asked for."""
        gets = [line for line in self.requests if line.startswith("GET ") and "/resolve/" in line]
        return [line.split("/resolve/")[1].partition("/")[2] for line in gets]


@dataclass(frozen=True)
class Answer:
    status: int
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)


@contextmanager
def serving(hub: Hub) -> Iterator[Hub]:
    """`hub` at an address of this machine until the end of the block."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(hub))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    hub.address = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _handler(hub: Hub) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None:
            pass

        def do_GET(self) -> None:
            self._reply(with_body=True)

        def do_HEAD(self) -> None:
            self._reply(with_body=False)

        def _reply(self, with_body: bool) -> None:
            path = unquote(urlsplit(self.path).path)
            hub.requests.append(f"{self.command} {path}")
            authorised = self.headers.get("Authorization") == f"Bearer {TOKEN}"
            answer = respond(hub, path, authorised, self.headers.get("Range"))
            body, breaks = answer.body, False
            name = path.rpartition("/")[2]
            if with_body and answer.status < 300 and hub.breaking[name] > 0:
                hub.breaking[name] -= 1
                body, breaks = body[: len(body) // 2], True
            with suppress(OSError):
                self.send_response(answer.status)
                headers = {"Content-Length": str(len(answer.body))} | answer.headers
                for key, value in headers.items():
                    self.send_header(key, value)
                self.end_headers()
                if with_body:
                    self.wfile.write(body)
                    self.wfile.flush()
            if breaks:
                self.close_connection = True

    return Handler


def respond(hub: Hub, path: str, authorised: bool, byte_range: str | None) -> Answer:
    """What the hub answers to a request for `path`."""
    for (part, status), times in hub.statuses.items():
        if times > 0 and part in path:
            hub.statuses[part, status] -= 1
            return _error(status, f"status {status} was wanted here")
    words = path.strip("/").split("/")
    api = words[0] == "api"
    words = words[1:] if api else words
    kind = words.pop(0) if words[0] in KINDS else "models"
    repo_id, rest = "/".join(words[:2]), words[2:]
    if repo_id in hub.moved:
        there = path.replace(repo_id, hub.moved[repo_id], 1)
        return Answer(307, headers={"Location": there})
    repository = hub.repositories.get((kind, repo_id))
    if repository is None:  # as the hub does for whoever is not logged in
        headers = {"X-Error-Code": "RepoNotFound", "X-Error-Message": "Repository not found"}
        return Answer(404 if authorised else 401, b"", headers)
    verb, revision, name = (rest[0] if rest else ""), (rest[1:2] or ["main"])[0], "/".join(rest[2:])
    if revision not in ("main", repository.commit):
        return Answer(404, b"", {"X-Error-Code": "RevisionNotFound"})
    if api:
        told = _tree(repository) if verb == "tree" else _information(repo_id, repository)
        return Answer(200, json.dumps(told).encode(), {"Content-Type": "application/json"})
    if repository.gated and not authorised:
        message = f"Access to model {repo_id} is restricted."
        headers = {"X-Error-Code": "GatedRepo", "X-Error-Message": message}
        return Answer(401, message.encode(), headers)
    file = repository.files().get(name)
    if file is None:
        return Answer(404, b"", {"X-Error-Code": "EntryNotFound", **_commit(repository)})
    return _file(repository, file, byte_range)


def _information(repo_id: str, repository: Repository) -> dict[str, Any]:
    files = repository.files().items()
    return {
        "_id": "0" * 24,
        "id": repo_id,
        "sha": repository.commit,
        "private": False,
        "gated": "manual" if repository.gated else False,
        "cardData": {"license": repository.licence},
        "tags": [],
        "siblings": [{"rfilename": name, "size": path.stat().st_size} for name, path in files],
    }


def _tree(repository: Repository) -> list[dict[str, Any]]:
    return [
        {"type": "file", "path": name, "size": path.stat().st_size, "oid": _digest(path)}
        for name, path in repository.files().items()
    ]


def _file(repository: Repository, file: Path, byte_range: str | None) -> Answer:
    data = file.read_bytes()
    headers = {
        **_commit(repository),
        "ETag": f'"{_digest(file)}"',
        "X-Linked-Etag": f'"{_digest(file)}"',
        "X-Linked-Size": str(len(data)),
        "Accept-Ranges": "bytes",
    }
    if byte_range is None:
        return Answer(200, data, headers)
    first, _, last = byte_range.removeprefix("bytes=").partition("-")
    begin, end = int(first), int(last) + 1 if last else len(data)
    headers["Content-Range"] = f"bytes {begin}-{end - 1}/{len(data)}"
    return Answer(206, data[begin:end], headers)


def _commit(repository: Repository) -> dict[str, str]:
    return {"X-Repo-Commit": repository.commit}


def _digest(file: Path) -> str:
    return hashlib.sha1(file.read_bytes(), usedforsecurity=False).hexdigest()


def _error(status: int, message: str) -> Answer:
    return Answer(status, json.dumps({"error": message}).encode(), {"X-Error-Message": message})
