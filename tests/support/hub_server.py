"""A small Hub on the loopback: it publishes the folders <owner>/<name> of a root and logs each request."""

import hashlib
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import NamedTuple
from urllib.parse import unquote, urlsplit


class Request(NamedTuple):
    method: str
    path: str
    token: str | None
    range: str | None


class RefusedError(Exception):
    """The answer is a status and the Hub's own word for it."""


class Hub(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, root: Path) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.root = root
        self.log: list[Request] = []
        self.private: dict[str, str] = {}  # repository: the token that opens it
        self.refused: dict[str, tuple[int, str]] = {}  # repository: what is answered instead of its files
        self.cut: set[str] = set()  # names of files of which the next answer breaks off in the middle

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def fetched(self, ending: str = "") -> list[str]:
        """The paths of the files whose content was asked for."""
        paths = [request.path for request in self.log if request.method == "GET"]
        return [path for path in paths if "/resolve/" in path and path.endswith(ending)]

    def files(self, repository: str) -> dict[str, Path]:
        folder = self.root / repository
        return {str(p.relative_to(folder)): p for p in sorted(folder.rglob("*")) if p.is_file()}

    def commit(self, repository: str) -> str:
        """The head of `main`: another one as soon as a file is another one."""
        parts = [f"{name} {sha256(path)}" for name, path in self.files(repository).items()]
        return hashlib.sha1("\n".join(parts).encode()).hexdigest()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Hub

    def do_GET(self) -> None:
        token = (self.headers["Authorization"] or "").removeprefix("Bearer ") or None
        path = unquote(urlsplit(self.path).path)
        self.server.log.append(Request(self.command, path, token, self.headers["Range"]))
        try:
            if found := re.fullmatch(r"/api/(?:models|datasets)/([^/]+/[^/]+)/revision/(.+)", path):
                self.describe(self.opened(found[1], token), found[2])
            elif found := re.fullmatch(r"(?:/datasets)?/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path):
                if found[1] in self.server.refused:
                    raise RefusedError(*self.server.refused[found[1]])
                self.deliver(self.opened(found[1], token), found[2], found[3])
            else:
                raise RefusedError(404, "")
        except RefusedError as refused:
            status, word = refused.args
            self.reply(status, {"X-Error-Code": word} if word else {}, b"")

    do_HEAD = do_GET  # noqa: N815

    def opened(self, repository: str, token: str | None) -> str:
        if not (self.server.root / repository).is_dir():
            raise RefusedError(404, "RepoNotFound")
        if self.server.private.get(repository, token) != token:
            raise RefusedError(401, "RepoNotFound")
        return repository

    def resolved(self, repository: str, revision: str) -> str:
        commit = self.server.commit(repository)
        if revision not in ("main", commit):
            raise RefusedError(404, "RevisionNotFound")
        return commit

    def describe(self, repository: str, revision: str) -> None:
        commit = self.resolved(repository, revision)
        siblings = [
            {"rfilename": name, "size": path.stat().st_size} for name, path in self.server.files(repository).items()
        ]
        body = json.dumps({"id": repository, "modelId": repository, "sha": commit, "siblings": siblings})
        self.reply(200, {"Content-Type": "application/json"}, body.encode())

    def deliver(self, repository: str, revision: str, name: str) -> None:
        headers = {"X-Repo-Commit": self.resolved(repository, revision), "Accept-Ranges": "bytes"}
        path = self.server.files(repository).get(name)
        if path is None:
            raise RefusedError(404, "EntryNotFound")
        content = path.read_bytes()
        headers["ETag"] = f'"{sha256(path) if path.suffix in (".safetensors", ".parquet") else git_sha1(content)}"'
        first, _, last = (self.headers["Range"] or "bytes=0-").removeprefix("bytes=").partition("-")
        start, end = int(first), min(int(last or len(content)), len(content) - 1)
        is_part = (start, end) != (0, len(content) - 1)
        if is_part:
            headers["Content-Range"] = f"bytes {start}-{end}/{len(content)}"
        self.reply(206 if is_part else 200, headers, content[start : end + 1], cut=name in self.server.cut)

    def reply(self, status: int, headers: dict[str, str], body: bytes, cut: bool = False) -> None:
        self.send_response(status)
        for key, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(key, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body[: len(body) // 2] if cut else body)
            if cut:
                self.server.cut.clear()
                self.close_connection = True

    def log_message(self, *args: object) -> None:
        """The log is the list of requests."""


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def git_sha1(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


@contextmanager
def serve(root: Path) -> Iterator[Hub]:
    with Hub(root) as hub:
        thread = Thread(target=hub.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield hub
        finally:
            hub.shutdown()
            thread.join()
