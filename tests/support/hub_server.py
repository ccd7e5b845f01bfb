"""A small Hub on the loopback: it publishes the folders <owner>/<name> of a root, takes uploads, logs each request."""

import base64
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

import yaml

LICENSES = {"apache-2.0", "mit", "cc0-1.0", "cc-by-4.0", "gemma", "llama3", "other", "unknown"}
RELATIONS = {"adapter", "finetune", "merge", "quantized"}


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
        self.writers: dict[str, str] = {}  # token: the owner for whom it may write
        self.objects: dict[str, bytes] = {}  # by sha256, the large files that were uploaded
        self.commits: list[dict[str, str]] = []  # the headers of those that were made: summary, description
        self.answers: dict[str, int] = {}  # part of a path: the status of the next answer that changes something there
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
        path, token = self.note()
        try:
            if found := re.fullmatch(r"/api/(?:models|datasets)/([^/]+/[^/]+)(?:/revision/(.+))?", path):
                self.describe(self.opened(found[1], token), found[2] or "main")
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

    def note(self) -> tuple[str, str | None]:
        """The path and the token of this request, which goes into the log."""
        token = (self.headers["Authorization"] or "").removeprefix("Bearer ") or None
        path = unquote(urlsplit(self.path).path)
        self.server.log.append(Request(self.command, path, token, self.headers["Range"]))
        return path, token

    def do_POST(self) -> None:
        path, token = self.note()
        body = self.rfile.read(int(self.headers["Content-Length"] or 0))
        try:
            for part in [part for part in self.server.answers if part in path]:
                raise RefusedError(self.server.answers.pop(part), "")
            self.change(path, token, body)
        except RefusedError as refused:
            status, word = refused.args
            self.reply(status, {"X-Error-Code": word} if word else {}, b"")

    do_PUT = do_POST  # noqa: N815

    def change(self, path: str, token: str | None, body: bytes) -> None:
        """Whatever a client asks for that uploads."""
        if path == "/api/validate-yaml":
            faults = [{"message": each} for each in find_faults(json.loads(body))]
            self.answer({"errors": faults, "warnings": []}, status=400 if faults else 200)
        elif found := re.fullmatch(r"/objects/(\w+)", path):
            assert hashlib.sha256(body).hexdigest() == found[1]
            self.server.objects[found[1]] = body
            self.answer({})
        elif path == "/api/repos/create":
            asked = json.loads(body)
            self.create(self.writable(f"{asked['organization']}/{asked['name']}", token), asked["private"], str(token))
        elif found := re.fullmatch(r"/api/models/([^/]+/[^/]+)/preupload/main", path):
            self.writable(found[1], token)
            files = [file["path"] for file in json.loads(body)["files"]]
            modes = [{"path": name, "uploadMode": "lfs" if is_large(name) else "regular"} for name in files]
            self.answer({"files": [{**mode, "shouldIgnore": False} for mode in modes]})
        elif found := re.fullmatch(r"/([^/]+/[^/]+)\.git/info/lfs/objects/batch", path):
            self.writable(found[1], token)
            self.answer({"transfer": "basic", "objects": [self.slot(each) for each in json.loads(body)["objects"]]})
        elif found := re.fullmatch(r"/api/models/([^/]+/[^/]+)/commit/main", path):
            self.take(self.writable(found[1], token), [json.loads(line) for line in body.splitlines()])
        elif found := re.fullmatch(r"/api/models/([^/]+/[^/]+)/settings", path):
            assert json.loads(body) == {"private": False}
            del self.server.private[self.writable(found[1], token)]
            self.answer({})
        else:
            raise RefusedError(404, "")

    def writable(self, repository: str, token: str | None) -> str:
        if token not in self.server.writers:
            raise RefusedError(401, "")
        if self.server.writers[token] != repository.split("/")[0]:
            raise RefusedError(403, "")
        return repository

    def create(self, repository: str, is_private: bool, token: str) -> None:
        folder = self.server.root / repository
        if folder.exists():
            raise RefusedError(409, "")
        folder.mkdir(parents=True)
        (folder / ".gitattributes").write_text("*.onnx filter=lfs\n")
        if is_private:
            self.server.private[repository] = token
        self.answer({"url": f"{self.server.endpoint}/{repository}"})

    def slot(self, asked: dict[str, str]) -> dict[str, object]:
        """Where an object is uploaded to; nowhere where it is there already."""
        href = f"{self.server.endpoint}/objects/{asked['oid']}"
        is_known = asked["oid"] in self.server.objects
        return dict(asked) if is_known else {**asked, "actions": {"upload": {"href": href}}}

    def take(self, repository: str, lines: list[dict[str, dict[str, str]]]) -> None:
        """A commit, as lines of JSON: a header, then files and deletions."""
        header, folder = lines[0]["value"], self.server.root / repository
        if header.get("parentCommit") not in (None, self.server.commit(repository)):
            raise RefusedError(412, "")
        for line in lines[1:]:
            kind, value = str(line["key"]), line["value"]
            file = folder / value["path"]
            if kind == "deletedFile":
                file.unlink()
                continue
            file.parent.mkdir(parents=True, exist_ok=True)
            large = kind == "lfsFile"
            file.write_bytes(self.server.objects[value["oid"]] if large else base64.b64decode(value["content"]))
        self.server.commits.append(header)
        commit = self.server.commit(repository)
        self.answer({"commitUrl": f"{self.server.endpoint}/{repository}/commit/{commit}", "commitOid": commit})

    def answer(self, body: dict[str, object], status: int = 200) -> None:
        self.reply(status, {"Content-Type": "application/json"}, json.dumps(body).encode())

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
        siblings = [sibling(name, path) for name, path in self.server.files(repository).items()]
        about = {"id": repository, "modelId": repository, "sha": commit, "private": repository in self.server.private}
        body = json.dumps({**about, "siblings": siblings})
        self.reply(200, {"Content-Type": "application/json"}, body.encode())

    def deliver(self, repository: str, revision: str, name: str) -> None:
        headers = {"X-Repo-Commit": self.resolved(repository, revision), "Accept-Ranges": "bytes"}
        path = self.server.files(repository).get(name)
        if path is None:
            raise RefusedError(404, "EntryNotFound")
        content = path.read_bytes()
        headers["ETag"] = f'"{sha256(path) if is_large(name) else git_sha1(content)}"'
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
        if self.command != "HEAD":
            self.wfile.write(body[: len(body) // 2] if cut else body)
            if cut:
                self.server.cut.clear()
                self.close_connection = True

    def log_message(self, *args: object) -> None:
        """The log is the list of requests."""


def find_faults(asked: dict[str, str]) -> list[str]:
    """What the Hub would say of the front matter of a card, as far as its documents tell."""
    card = yaml.safe_load(asked["content"].split("---\n")[1])
    name = re.compile(r"[\w.-]+/[\w.-]+")
    texts = [*card.get("tags", []), *card.get("language", []), card["library_name"], card["pipeline_tag"]]
    metrics = [each for index in card["model-index"] for result in index["results"] for each in result["metrics"]]
    claims = {
        "license": card["license"] in LICENSES and (card["license"] != "other" or "license_name" in card),
        "base_model": name.fullmatch(card.get("base_model", "a/b")),
        "base_model_relation": card.get("base_model_relation", "finetune") in RELATIONS,
        "datasets": all(map(name.fullmatch, card.get("datasets", []))),
        "texts": all(isinstance(text, str) for text in texts),
        "model-index": metrics and all(isinstance(each["value"], float) and each["type"] for each in metrics),
    }
    return [f'"{claim}" is not valid' for claim, holds in claims.items() if not holds]


def is_large(name: str) -> bool:
    """Whether the Hub keeps a file outside of Git."""
    return Path(name).suffix in (".safetensors", ".parquet", ".onnx", ".data", ".gguf")


def sibling(name: str, path: Path) -> dict[str, object]:
    """A file in the description of a repository."""
    size = path.stat().st_size
    about = {"rfilename": name, "size": size, "blobId": git_sha1(path.read_bytes())}
    return {**about, "lfs": {"sha256": sha256(path), "size": size, "pointerSize": 134}} if is_large(name) else about


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
