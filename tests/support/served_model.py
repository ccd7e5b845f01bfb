"""A tiny model folder as the export stage leaves it, and the real server over it: uvicorn, in a thread, on any port."""

import asyncio
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from shutil import copytree
from typing import Any

import compact_model
import httpx
import traced_model
from starlette.applications import Starlette

from refrain.pipeline import manifest
from refrain.serving.process.lifecycle import GracefulServer
from refrain.serving.process.listening import describe_address, open_sockets
from refrain.serving.server import Server, create_app
from refrain.serving.settings.schema import ServeSettings

VARIANTS = ("int8", "fp32")  # the first is the best one too
EOS = "<|im_end|>"


def build(folder: Path, template: str = traced_model.TEMPLATE, family: str = "llama") -> Path:
    """A folder like models/onnx: variants, the best of them, and the manifest. One token is one byte; 1,200 of them
    are seen at once; the graph has more logits than the tokenizer has tokens."""
    out = folder / "onnx"
    for variant in VARIANTS:
        copytree(compact_model.build(folder, family, variant), out / variant)
        save_tokenizer(out / variant, template)
    copytree(out / VARIANTS[0], out / "best")
    manifest.write_manifest(out, {"best": VARIANTS[0]})
    return out


def save_tokenizer(folder: Path, template: str) -> None:
    traced_model.tokenizer().save(str(folder / "tokenizer.json"))
    settings = {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": EOS, "chat_template": template}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))


@dataclass(frozen=True)
class RunningServer:
    """A server that answers at `url`, and its insides."""

    url: str
    app: Starlette
    loop: asyncio.AbstractEventLoop

    @property
    def server(self) -> Server:
        return self.app.state.server

    @cached_property
    def client(self) -> httpx.Client:
        return httpx.Client(base_url=self.url, timeout=60)

    def post(self, path: str, body: Any = None, **options: Any) -> httpx.Response:
        return self.client.post(path, json=body, **options)

    def get(self, path: str, **options: Any) -> httpx.Response:
        return self.client.get(path, **options)

    def chat(self, content: str = "Hello", **fields: Any) -> httpx.Response:
        """The answer to a question, short unless the fields say otherwise."""
        messages = [{"role": "user", "content": content}]
        return self.post("/v1/chat/completions", {"messages": messages, "max_tokens": 8, **fields})

    def stream(self, path: str, body: Any, **options: Any) -> list[dict[str, Any]]:
        """The events of a stream that ends as it should, without [DONE]."""
        lines = self.post(path, {**body, "stream": True}, **options).text.split("\n\n")
        events = [line.removeprefix("data: ") for line in lines if line.startswith("data: ")]
        assert events[-1] == "[DONE]", events
        return [json.loads(event) for event in events[:-1]]


class NoticingServer(GracefulServer):
    """Says when it listens."""

    def __init__(self, app: Starlette) -> None:
        super().__init__(app)
        self.has_started = threading.Event()
        self.loop: asyncio.AbstractEventLoop

    async def startup(self, sockets: Any = None) -> None:
        self.loop = asyncio.get_running_loop()
        await super().startup(sockets)
        self.has_started.set()


@contextmanager
def run_server(settings: ServeSettings) -> Iterator[RunningServer]:
    """The server with these settings, until the end of the block."""
    with run_app(create_app(settings)) as running:
        yield running


@contextmanager
def run_app(app: Starlette) -> Iterator[RunningServer]:
    """An application as `refrain serve` runs it."""
    sockets = open_sockets("127.0.0.1", 0, has_keys=False)
    server = NoticingServer(app)
    thread = threading.Thread(target=server.run, args=(sockets,))
    thread.start()
    try:
        assert server.has_started.wait(120)
        yield RunningServer(describe_address(sockets[0]), app, server.loop)
    finally:
        server.should_exit = True
        thread.join()
