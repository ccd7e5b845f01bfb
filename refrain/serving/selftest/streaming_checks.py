"""Checks 1 to 12: what a stream says, how it ends, and what happens when nobody reads on."""

import json
import re
import socket
import time
from urllib.parse import urlsplit

from refrain.serving.selftest.client import LONG_REPLY, Target, pieces_of, text_of
from refrain.serving.selftest.outcome import Check, CheckFailedError, NotApplicableError, require

LONG = "Tell me everything you know, and never stop. " * 3
RUNNING = re.compile(
    r"^(?:refrain_requests_running|vllm:num_requests_running|llamacpp:requests_processing)(?:\{.*\})? ([0-9.e+]+)$",
    re.MULTILINE,
)
GAUGE_SECONDS = 5.0  # within which a free slot must be seen


def count_running(target: Target) -> float:
    """Requests in work, as /metrics says; NotApplicableError where it does not."""
    answer = target.get("/metrics")
    found = RUNNING.findall(answer.body.decode(errors="replace")) if answer.status == 200 else []
    if not found:
        raise NotApplicableError("no /metrics that counts running requests")
    return sum(map(float, found))


def wait_until_idle(target: Target, what: str) -> str:
    """Poll the gauge until nothing runs."""
    begin = time.monotonic()
    while time.monotonic() - begin < GAUGE_SECONDS:
        if count_running(target) == 0:
            return f"free after {1000 * (time.monotonic() - begin):.0f} ms"
    raise CheckFailedError(f"{what}: it still runs after {GAUGE_SECONDS:.0f} s")


def check_disconnect(target: Target) -> str:
    """Hang up a streamed and a plain request."""
    wait_until_idle(target, "before the check")
    with target.stream_chat(LONG, **LONG_REPLY) as stream:
        next(stream.events())
    streamed = wait_until_idle(target, "the client of a stream left")
    hang_up_plain(target)
    return f"{streamed}; plain: {wait_until_idle(target, 'the client of a plain request left')}"


def hang_up_plain(target: Target) -> None:
    """Send a plain request on a raw socket, and close it without waiting for the answer."""
    parts = urlsplit(target.url)
    body = json.dumps(target.chat_body(LONG, LONG_REPLY)).encode()
    key = f"Authorization: Bearer {target.api_key}\r\n" if target.api_key else ""
    head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: {parts.netloc}\r\nContent-Type: application/json\r\n{key}"
    with socket.create_connection((parts.hostname or "", parts.port or 80)) as connection:
        connection.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)


def check_cancel_beside(target: Target) -> str:
    """Of 4 replies at once one is cancelled; the others are what they are alone."""
    asked = [f"{number} times {number}, what is it?" for number in range(4)]
    alone = [text_of(target.chat(text)) for text in asked]
    streams = [target.stream_chat(text) for text in asked]
    streams[0].hang_up()
    for text, before, stream in zip(asked[1:], alone[1:], streams[1:], strict=True):
        with stream:
            require("".join(pieces_of(stream)) == before, f"{text!r} has another answer beside one that is cancelled")
    return "3 of 3 texts equal"


def check_cancel_in_prompt(target: Target) -> str:
    """A long prompt is dropped when its client leaves."""
    with target.stream_chat("word " * 150):
        pass
    return wait_until_idle(target, "the client left while its prompt was read")


def check_refused_before_stream(target: Target) -> str:
    """A bad request with `stream: true` has a status of its own."""
    with target.stream_chat("Hi", temperature=-1) as stream:
        require(stream.status == 400, f"temperature -1 in a stream: {stream.status}")
    with target.stream_chat([]) as stream:
        require(stream.status == 400, f"no messages in a stream: {stream.status}")
    return "400 before the first byte"


def check_usage(target: Target) -> str:
    """Usage in a stream comes when it is asked for, last, with no choices."""
    with target.stream_chat("Hi") as stream:
        require(not any(event.get("usage") for event in stream.events()), "usage came without being asked for")
    with target.stream_chat("Hi", stream_options={"include_usage": True}) as stream:
        events = list(stream.events())
    usage, others = events[-1], events[:-1]
    require(usage.get("choices") == [] and bool(usage.get("usage")), "the last chunk is not usage with choices []")
    require(not any(event.get("usage") for event in others), "usage stands in other chunks too")
    plain = target.chat("Hi").json().get("usage") or {}
    same = plain.get("completion_tokens") == usage["usage"]["completion_tokens"]
    require(same, f"a plain answer counts {plain}, a stream {usage['usage']}")
    return f"{usage['usage']['completion_tokens']} tokens, once"


def check_stream_form(target: Target) -> str:
    """Content type with charset, a first chunk with the role, nothing raw that splits lines."""
    with target.stream_chat("Hi") as stream:
        first = next(stream.events())
        list(stream.events())
    kind = stream.headers.get("content-type", "")
    require("text/event-stream" in kind and "charset=utf-8" in kind.lower(), f"content-type: {kind}")
    delta = first["choices"][0].get("delta") or {}
    require(delta.get("role") == "assistant", f"first chunk: {delta}")
    raw = b"".join(stream.lines)
    require(not any(mark.encode() in raw for mark in "\u2028\u2029\x85"), "a line separator stands raw in a line")
    require(raw.rstrip().endswith(b"data: [DONE]"), "no [DONE] at the end")
    return kind


def check_characters(target: Target) -> str:
    """Pieces of a stream are whole characters, and together the plain text."""
    asked = "Say it back: 🙂🎉 naïve 日本語"
    plain = text_of(target.chat(asked, max_tokens=40))
    with target.stream_chat(asked, max_tokens=40) as stream:
        pieces = pieces_of(stream)
    require("".join(pieces) == plain, "the pieces together are not the plain text")
    require("\ufffd" in plain or not any("\ufffd" in piece for piece in pieces), "a piece ends inside a character")
    return f"{len(pieces)} pieces"


def check_stop_held_back(target: Target) -> str:
    """The beginning of a stop string never shows, and what was held back comes out."""
    whole = text_of(target.chat("What is it?", max_tokens=30))
    if len(whole) < 9:
        raise NotApplicableError(f"the answer {whole!r} is too short to stop inside")
    middle = len(whole) // 2
    stop = whole[middle : middle + 4]
    expected = whole[: whole.index(stop)]
    with target.stream_chat("What is it?", max_tokens=30, stop=[stop]) as stream:
        found = "".join(pieces_of(stream))
    require(found == expected, f"with stop {stop!r} the stream says {found!r}, not {expected!r}")
    never = whole[-3:] + "\x00never"
    with target.stream_chat("What is it?", max_tokens=30, stop=[never]) as stream:
        require("".join(pieces_of(stream)) == whole, "text that was held back for a stop string is lost")
    return f"stops before {stop!r}"


def check_proxy_headers(target: Target) -> str:
    """What keeps proxies from collecting a stream."""
    with target.stream_chat("Hi") as stream:
        headers = stream.headers
        list(stream.events())
    require(headers.get("x-accel-buffering") == "no", "no X-Accel-Buffering: no")
    require("no-store" in headers.get("cache-control", "") or "no-cache" in headers.get("cache-control", ""),
            "no Cache-Control")  # fmt: skip
    require("content-encoding" not in headers, f"content-encoding: {headers.get('content-encoding')}")
    return "not buffered, not stored"


def check_ping(target: Target) -> str:
    """A comment in silence; the silence must come about."""
    raise NotApplicableError("5 s of silence cannot be brought about from outside; its tests do")


CHECKS = [
    Check(1, "a client that leaves frees its slot, streamed or plain", check_disconnect),
    Check(2, "a cancelled request changes no other", check_cancel_beside),
    Check(3, "a client that leaves while its prompt is read frees its slot", check_cancel_in_prompt),
    Check(6, "what can be refused is refused before a stream begins", check_refused_before_stream),
    Check(7, "usage in a stream comes once, last, when asked for", check_usage),
    Check(8, "a stream names its charset, begins with the role, ends with [DONE]", check_stream_form),
    Check(9, "pieces are whole characters", check_characters),
    Check(10, "a stop string never shows its beginning", check_stop_held_back),
    Check(11, "proxies are told not to buffer", check_proxy_headers),
    Check(12, "silence is broken by comments", check_ping),
]
