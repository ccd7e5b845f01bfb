"""Checks 28 to 41 but for damage: load, state, keys, and what a browser or a proxy may ask."""

import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from random import Random
from typing import Any

from refrain.serving.selftest.client import LONG_REPLY, Answer, Stream, Target, pieces_of, text_of
from refrain.serving.selftest.outcome import Check, require
from refrain.serving.selftest.own_server import require_own, resident_mb, start_server

EVIL = "http://evil.example"
MOST_GROWTH = 0.05  # of the memory of a server between its 200th and its last request
CACHES_MB = 8  # that answers which are kept for a while may take beside it
REQUESTS = (200, 600)
FREE_SECONDS = 5.0  # within which the place of a client that has left is free


def check_queue(target: Target) -> str:
    """A full queue refuses, and says when to come back."""
    own = require_own(target)
    with start_server(own, max_num_seqs=1, max_waiting=2) as server:
        streams = [server.stream_chat(f"Go on {number}", **LONG_REPLY) for number in range(8)]
        refused = [stream for stream in streams if stream.status == 429]
        for stream in streams:
            stream.hang_up()
    require(len(refused) == 5, f"1 runs, 2 may wait, 8 came: {len(refused)} were refused")
    require(all(int(stream.headers.get("retry-after", 0)) >= 1 for stream in refused), "no Retry-After")
    return "5 of 8 refused with Retry-After"


def check_timeout(target: Target) -> str:
    """A reply that takes too long ends as one that is too long."""
    own = require_own(target)
    with start_server(own, timeout=0.05) as server:
        answer = server.chat("Tell me everything", **LONG_REPLY)
        late = answer.status == 408 or (answer.json() or {}).get("refrain", {}).get("reason") == "timeout"
    require(late, f"0.05 s were given: {answer.status} {answer.body[:120]!r}")
    return f"{answer.status} after its time"


def check_nothing_is_mixed(target: Target) -> str:
    """Many at once, some of which leave: each text is what it is alone."""
    asked = [f"Say {number} in words, then {number + 1}." for number in range(16)]
    alone = [text_of(target.chat(text)) for text in asked]
    rng, counted = Random(0), 0

    def ask(number: int, leaves: bool) -> bool:
        with target.stream_chat(asked[number]) as stream:
            if leaves:
                next(stream.events())
                return True
            return "".join(pieces_of(stream)) == alone[number]

    with ThreadPoolExecutor(16) as pool:
        for _ in range(4):
            order = rng.sample(range(16), 16)
            found = list(pool.map(ask, order, [rng.random() < 0.25 for _ in order]))
            counted += len(found)
            require(all(found), f"{found.count(False)} of 16 texts differ from what they are alone")
    return f"{counted} requests, 16 at once"


def check_memory(target: Target) -> str:
    """Memory does not grow with the number of requests."""
    own = require_own(target)
    with start_server(own) as server:
        sizes = []
        for count in REQUESTS:
            with ThreadPoolExecutor(8) as pool:
                list(pool.map(lambda number: server.chat(f"{number} " * (number % 40 + 1), max_tokens=4), range(count)))
            sizes.append(resident_mb(server))
    require(sizes[1] <= sizes[0] * (1 + MOST_GROWTH) + CACHES_MB, f"from {sizes[0]:.0f} to {sizes[1]:.0f} MB")
    return f"{sizes[0]:.0f} MB, then {sizes[1]:.0f} MB"


def check_drain(target: Target) -> str:
    """SIGTERM lets a stream finish, and refuses what is new."""
    own = require_own(target)
    with start_server(own) as server:
        with server.stream_chat("Count to one hundred", max_tokens=200) as stream:
            next(stream.events())
            os.kill(server.process_id or 0, signal.SIGTERM)
            last = [event for event in stream.events() if event.get("choices")][-1]
        reason = last["choices"][0]["finish_reason"]
        status = own.wait_for_exit(server.process_id or 0)
    require(reason in ("stop", "length"), f"the stream ended with {reason}")
    require(status == 0, f"exit status {status}")
    return f"the stream ended with {reason}, exit 0"


def check_health(target: Target) -> str:
    """Health is answered without a key, busy or not."""
    plain = Target(target.url)
    found = [path for path in ("/readyz", "/healthz", "/health") if plain.get(path).status == 200]
    require(bool(found), "none of /readyz, /healthz and /health is 200")
    with target.stream_chat("Go on and on", max_tokens=300) as stream:
        next(stream.events())
        status = plain.get(found[0]).status
    require(status == 200, f"{found[0]} while a reply runs: {status}")
    return f"{', '.join(found)}; ready while busy"


def check_cache(target: Target) -> str:
    """The same request has the same answer; one field less, another."""
    first, again = (target.chat("What is it?", max_tokens=9) for _ in range(2))
    require(text_of(first) == text_of(again), "the same request has two answers at temperature 0")
    shorter = target.chat("What is it?", max_tokens=2)
    require(usage_of(shorter) <= 2, "max_tokens is no part of what is remembered")
    drawn = {text_of(target.chat("What is it?", temperature=1.5, max_tokens=12)) for _ in range(4)}
    require(len(drawn) > 1, "without a seed, at temperature 1.5, the same answer comes 4 times")
    return f"{len(drawn)} of 4 differ without a seed"


def usage_of(answer: Answer) -> int:
    return int(answer.json()["usage"]["completion_tokens"])


def check_origins(target: Target) -> str:
    """A page of elsewhere reads nothing, and no other name leads here."""
    answer = target.get("/v1/models", Origin=EVIL)
    require("access-control-allow-origin" not in answer.headers,
            f"Access-Control-Allow-Origin: {answer.headers.get('access-control-allow-origin')}")  # fmt: skip
    status = target.get("/v1/models", Host="evil.example").status
    require(status in (400, 403, 421), f"Host: evil.example is answered: {status}")
    return f"no CORS; Host: {status}"


def check_keys(target: Target) -> str:
    """Without its key nothing is answered, and the key is in no answer."""
    own = require_own(target)
    key = "sk-selftest-0123456789"
    with start_server(own, api_key=key) as server:
        bare = Target(server.url)
        answers = [bare.chat("Hi"), bare.get("/v1/models"), bare.get("/metrics"),
                   Target(server.url, api_key="sk-wrong").chat("Hi")]  # fmt: skip
        allowed = Target(server.url, api_key=key).chat("Hi").status
    for answer in answers:
        require(answer.status == 401, f"without the key: {answer.status}")
        require(answer.error.get("code") == "invalid_api_key", f"code: {answer.error.get('code')}")
        require("bearer" in answer.headers.get("www-authenticate", "").lower(), "no WWW-Authenticate: Bearer")
        require(key.encode() not in answer.body, "the key stands in an answer")
    require(allowed == 200, f"with the key: {allowed}")
    return "4 of 4 refused, 1 allowed"


def check_tokens(target: Target) -> str:
    """Text to tokens and back, and the prompt as the template writes it."""
    text = "Hello 🙂 naïve"
    answer = target.post("/tokenize", {"content": text, "prompt": text} if is_lenient(target) else {"prompt": text})
    require(answer.status == 200, f"/tokenize: {answer.status}")
    ids = (answer.json() or {}).get("tokens") or []
    require(isinstance(ids, list) and bool(ids), "no tokens")
    back = target.post("/detokenize", {"tokens": ids}).json() or {}
    require(text in (back.get("content"), back.get("prompt"), back.get("text")), f"{text!r} comes back as {back}")
    written = target.post("/apply-template", {"messages": [{"role": "user", "content": "XYZ"}]})
    require(written.status == 200 and "XYZ" in str((written.json() or {}).get("prompt")), "/apply-template")
    return f"{len(ids)} tokens"


def is_lenient(target: Target) -> bool:
    """Whether /tokenize takes its text under another name than vLLM's, as llama.cpp's does."""
    return target.post("/tokenize", {"prompt": "a"}).json() in ({"tokens": []}, None)


def check_model_names(target: Target) -> str:
    """A model that is not there is 404, and those that are are named."""
    names = [model["id"] for model in target.get("/v1/models").json()["data"]]
    answer = Target(target.url, target.api_key, "no-such-model").chat("Hi")
    require(answer.status == 404, f"no-such-model: {answer.status}")
    require(answer.error.get("code") == "model_not_found", f"code: {answer.error.get('code')}")
    require(names[0] in str(answer.error.get("message")), f"the message does not name {names[0]}")
    return f"{len(names)} named"


def check_embeddings(target: Target) -> str:
    """What will never work is no error of the server."""
    body: dict[str, Any] = {"input": "Hi", "model": target.model or ""}
    answer = target.post("/v1/embeddings", body)
    require(answer.status in (404, 400), f"/v1/embeddings: {answer.status}")
    require(bool(answer.error.get("message")), "no sentence")
    return str(answer.status)


def stream_when_free(server: Target, text: str) -> Stream:
    """A long reply that has begun; a place that somebody has left may take a moment to be free."""
    end = time.monotonic() + FREE_SECONDS
    while True:
        stream = server.stream_chat(text, **LONG_REPLY)
        if stream.status == 200:
            return stream
        stream.hang_up()
        require(stream.status == 429 and time.monotonic() < end, f"{text!r} after others have left: {stream.status}")
        time.sleep(0.02)


def check_retries(target: Target) -> str:
    """Who hangs up and comes again finds the slots free."""
    own = require_own(target)
    with start_server(own, max_num_seqs=1, max_waiting=8) as server:
        for number in range(40):
            stream_when_free(server, f"Go on {number}").hang_up()
        begin = time.monotonic()
        require(server.chat("Hi").status == 200, "after 40 tries nobody is answered")
    return f"40 tries, then an answer in {time.monotonic() - begin:.1f} s"


def check_late(target: Target) -> str:
    """Both halves of a storm of retries."""
    return f"{check_timeout(target)}; {check_retries(target)}"


CHECKS = [
    Check(28, "a full queue refuses, with Retry-After", check_queue),
    Check(29, "late replies end, and those who try again find room", check_late),
    Check(31, "nothing of one request is in another's answer", check_nothing_is_mixed),
    Check(32, "memory stays flat", check_memory),
    Check(33, "SIGTERM lets streams finish", check_drain),
    Check(34, "health and readiness are told apart from being busy", check_health),
    Check(36, "nothing that is remembered is wrong", check_cache),
    Check(37, "no page of elsewhere reads an answer", check_origins),
    Check(38, "without its key nothing is answered", check_keys),
    Check(39, "text to tokens and back", check_tokens),
    Check(40, "an unknown model is 404", check_model_names),
    Check(41, "what will never work is no 5xx", check_embeddings),
]
