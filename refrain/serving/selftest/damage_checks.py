"""Checks 4, 5, 30 and 35: a model that breaks, and one that is damaged while it is served."""

import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from refrain.serving.selftest import damaged_model
from refrain.serving.selftest.client import OwnServer, Target, text_of
from refrain.serving.selftest.outcome import Check, require
from refrain.serving.selftest.own_server import require_own, start_server


def check_failure_in_stream(target: Target) -> str:
    """A stream that fails says why in a line of data, and is not whole."""
    with start_broken(require_own(target)) as server, server.stream_chat("Hi") as stream:
        require(stream.status == 200, f"the stream has status {stream.status}")
        events = list(stream.events())
    raw = b"".join(stream.lines)
    require("error" in events[-1], f"the last event is {events[-1]}")
    require(b"event:" not in raw, "the error has an event name, which clients skip")
    require(b"[DONE]" not in raw, "[DONE] follows an error")
    return str(events[-1]["error"].get("code"))


def check_stream_closes(target: Target) -> str:
    """After the error the connection ends."""
    with start_broken(require_own(target)) as server, server.stream_chat("Hi") as stream:
        begin = time.monotonic()
        list(stream.events())  # to the end of the body
        seconds = time.monotonic() - begin
    require(seconds < 1, f"it stays open for {seconds:.1f} s")
    return f"closed after {1000 * seconds:.0f} ms"


def check_engine_failure(target: Target) -> str:
    """A model that can choose no token fails its replies, one by one, and nothing else."""
    with start_broken(require_own(target)) as server:
        answers = [server.chat("Hi") for _ in range(2)]
        alive = Target(server.url).get("/healthz").status
    for answer in answers:
        require(answer.status == 500, f"a model of nan answers {answer.status}")
        require(bool(answer.error.get("message")), "500 without a sentence")
    require(alive == 200, f"/healthz after a reply that broke: {alive}")
    return f"{answers[0].error.get('code')}, twice; alive"


def check_reload(target: Target) -> str:
    """A damaged folder is not served, and the old model stays."""
    own = require_own(target)
    with tempfile.TemporaryDirectory() as place:
        copy = damaged_model.copy_model(own.folder, Path(place))
        with start_server(own, model=str(copy)) as server:
            before = text_of(server.chat("Hi"))
            damaged_model.flip_bit(copy)
            answer = server.post("/v1/refrain/reload", {})
            require(answer.status == 409, f"reload of a flipped bit: {answer.status}")
            require(text_of(server.chat("Hi")) == before, "the answer has changed")
    return str(answer.error.get("code"))


@contextmanager
def start_broken(own: OwnServer) -> Iterator[Target]:
    """A server whose model has weights that are no numbers."""
    with tempfile.TemporaryDirectory() as place:
        copy = damaged_model.copy_model(own.folder, Path(place))
        damaged_model.fill_with_nan(copy)
        with start_server(own, model=str(copy)) as server:
            yield server


CHECKS = [
    Check(4, "a failure in a stream is data with an error, without [DONE]", check_failure_in_stream),
    Check(5, "a stream closes after a failure", check_stream_closes),
    Check(30, "a reply that breaks ends alone", check_engine_failure),
    Check(35, "a damaged model is never served", check_reload),
]
