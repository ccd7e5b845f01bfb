"""A server under load for minutes: every reply as it is alone, memory flat, whoever comes, leaves or is killed.

    python -m benchmarks.soak FOLDER [--minutes N] [--clients N] [--reload SECONDS] [--kill SECONDS]

FOLDER is like models/onnx, with two variants at least; a copy of it is served. At first every question is asked alone,
of two models; then clients ask at random, streamed and whole, and some leave in the middle, while a process that reads
a stream is killed with signal 9 again and again, and the model in the folder is replaced by the other one and reloaded.
"""

import argparse
import asyncio
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import httpx

from benchmarks.harness.server_process import ServerProcess, memory_mb
from refrain.pipeline import manifest, paths
from refrain.runtime import onnx_folder

QUESTIONS = 60
SETTLED = 200  # requests after which memory is taken as what it was
ENVIRONMENT = {  # less room than is needed, for what is kept: full from the beginning
    "REFRAIN_SERVE_CACHE__MAX_BYTES": "20000",
    "REFRAIN_SERVE_ANSWERS_MEMORY": "500000",
}
WORDS = ["what", "is", "the", "capital", "of", "France", "and", "how", "far", "does", "a", "train", "go", "in", "hours"]
READ_FOREVER = """
import socket, sys
host, port, body = sys.argv[1], int(sys.argv[2]), sys.argv[3].encode()
client = socket.create_connection((host, port))
head = f"POST /v1/chat/completions HTTP/1.1\\r\\nHost: {host}\\r\\nContent-Type: application/json\\r\\n"
client.sendall(head.encode() + b"Content-Length: %d\\r\\n\\r\\n" % len(body) + body)
while client.recv(64):
    print(flush=True)
"""

Said = tuple[str, str, str | None]  # text, log-probabilities as JSON, finish reason


@dataclass
class Outcome:
    """What has happened so far."""

    counts: Counter[str] = field(default_factory=Counter)
    memory: list[tuple[int, float]] = field(default_factory=list)  # replies so far, RSS in MB
    differences: list[str] = field(default_factory=list)


def main() -> None:
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--reload", type=float, default=15.0, help="seconds between two; 0 for none")
    parser.add_argument("--kill", type=float, default=3.0, help="seconds between two; 0 for none")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch, "onnx")
        shutil.copytree(options.folder, folder)
        command = [sys.executable, "-m", "refrain.cli.main", "serve", "--port", "{port}", "--model", str(folder)]
        server = ServerProcess(command, "/readyz", Path(scratch, "log"), ENVIRONMENT)
        try:
            outcome = asyncio.run(Soak(server, folder, options).run())
        finally:
            server.close()
    sys.exit(report(outcome))


class Soak:
    """Everybody who uses one server at once."""

    def __init__(self, server: ServerProcess, folder: Path, options: argparse.Namespace) -> None:
        self._server, self._folder, self._options = server, folder, options
        self._variants = sorted(path.parent.name for path in folder.glob(f"*/{onnx_folder.GRAPH}"))
        self._variants.remove(paths.BEST)
        self._questions = [draw_question(number) for number in range(QUESTIONS)]
        self._alone: dict[tuple[str, int], Said] = {}  # by seal and question
        self._outcome = Outcome()
        self._end = 0.0

    async def run(self) -> Outcome:
        """All of it; what has happened."""
        limits = httpx.Limits(max_connections=None)
        async with httpx.AsyncClient(base_url=self._server.url, timeout=120, limits=limits) as client:
            for variant in self._variants[1::-1]:
                await self._replace(client, variant)
                for number, question in enumerate(self._questions):
                    said, seal = await ask(client, question, None)
                    self._alone[seal, number] = said
            self._end = time.monotonic() + 60 * self._options.minutes
            clients = (self._ask(client, random.Random(number)) for number in range(self._options.clients))
            others = (self._kill_readers(), self._reload(client), self._watch_memory())
            await asyncio.gather(*clients, *others)
            await asyncio.sleep(1)
            for line in (await client.get("/metrics")).text.splitlines():
                name, _, value = line.rpartition(" ")
                if name.startswith(("refrain_requests_running", "refrain_requests_waiting", "refrain_cache")):
                    self._outcome.counts[name] = int(float(value))
        return self._outcome

    async def _ask(self, client: httpx.AsyncClient, rng: random.Random) -> None:
        while time.monotonic() < self._end:
            await asyncio.sleep(rng.choice([0, 0, 0.01, 0.1]))
            number = rng.randrange(QUESTIONS)
            question = {**self._questions[number], "stream": rng.random() < 0.7}
            most_events = rng.randrange(1, 12) if question["stream"] and rng.random() < 0.2 else None
            said, seal = await ask(client, question, most_events)
            self._outcome.counts["left" if said[2] is None else "replies"] += 1
            expected = self._alone[seal, number]
            is_equal = expected == said if said[2] is not None else expected[0].startswith(said[0])
            if not is_equal:
                self._outcome.differences.append(f"question {number} of {seal}: {said} is not {expected}")

    async def _kill_readers(self) -> None:
        host, _, port = self._server.url.removeprefix("http://").partition(":")
        while self._options.kill and time.monotonic() < self._end:
            body = json.dumps({**self._questions[0], "max_tokens": 500, "seed": 1, "temperature": 1, "stream": True})
            command = [sys.executable, "-c", READ_FOREVER, host, port, body]
            process = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE)
            assert process.stdout is not None
            await process.stdout.readline()
            process.kill()
            await process.wait()
            self._outcome.counts["killed"] += 1
            await asyncio.sleep(self._options.kill)

    async def _reload(self, client: httpx.AsyncClient) -> None:
        turn = 0
        while self._options.reload and time.monotonic() < self._end:
            await self._replace(client, self._variants[turn % 2])
            self._outcome.counts["reloads"] += 1
            turn += 1
            await asyncio.sleep(self._options.reload)

    async def _replace(self, client: httpx.AsyncClient, variant: str) -> None:
        """Put a variant in place of the best one, file by file as DVC does, and have it reloaded."""
        for file in (self._folder / variant).iterdir():
            part = self._folder / paths.BEST / "part"
            part.write_bytes(file.read_bytes())
            part.replace(self._folder / paths.BEST / file.name)
        listed = manifest.read_manifest(self._folder)
        del listed["files"]
        await asyncio.to_thread(manifest.write_manifest, self._folder, {**listed, "best": variant})
        response = await client.post("/v1/refrain/reload")
        response.raise_for_status()

    async def _watch_memory(self) -> None:
        while time.monotonic() < self._end:
            counts = self._outcome.counts
            self._outcome.memory.append((counts["replies"] + counts["left"], memory_mb(self._server.pid)[0]))
            await asyncio.sleep(0.5)


def draw_question(number: int) -> dict[str, Any]:
    """A short or long question, of which the answer is the same each time."""
    rng = random.Random(number)
    words = [*WORDS[: rng.choice([0, 8])], *rng.choices(WORDS, k=rng.choice([3, 10, 100]))]
    sampling = {"temperature": number % 2, "seed": number, "max_tokens": rng.choice([4, 16, 48])}
    logprobs = {"logprobs": True, "top_logprobs": number % 3} if number % 3 else {}
    return {"messages": [{"role": "user", "content": " ".join(words)}], **sampling, **logprobs}


async def ask(client: httpx.AsyncClient, question: dict[str, Any], most_events: int | None) -> tuple[Said, str]:
    """What is said, and the seal of who said it; who reads so many events at most has no finish reason."""
    if not question.get("stream"):
        answer = (await client.post("/v1/chat/completions", json=question)).raise_for_status().json()
        return collect([answer]), answer["system_fingerprint"]
    events: list[dict[str, Any]] = []
    async with client.stream("POST", "/v1/chat/completions", json=question) as response:
        response.raise_for_status()
        async for line in response.aiter_lines():
            if line.startswith("data: {"):
                events.append(json.loads(line.removeprefix("data: ")))
            if len(events) == most_events:
                break
    return collect(events), events[0]["system_fingerprint"]


def collect(events: list[dict[str, Any]]) -> Said:
    """Text, log-probabilities and finish reason of an answer, or of the pieces of one."""
    choices = [choice for event in events for choice in event["choices"]]
    text = "".join((choice.get("delta") or choice.get("message") or {}).get("content") or "" for choice in choices)
    logprobs = [each for choice in choices for each in (choice.get("logprobs") or {}).get("content") or []]
    return text, json.dumps(logprobs), choices[-1]["finish_reason"]


def report(outcome: Outcome) -> int:
    """Print what has happened; 1 where a reply was another, or memory grew."""
    print(", ".join(f"{count} {name}" for name, count in outcome.counts.items()))
    print("\n".join(outcome.differences[:5]) or "every reply is what it is alone")
    settled = [size for replies, size in outcome.memory if replies >= SETTLED]
    quarter = max(1, len(settled) // 4)
    before, after = median(settled[:quarter]), median(settled[-quarter:])
    growth = after / before - 1
    print(f"memory: {before:.0f} MB in the first quarter after {SETTLED} replies, {after:.0f} MB in the last one "
          f"({growth:+.1%}), {max(settled):.0f} MB at most")  # fmt: skip
    return int(bool(outcome.differences) or growth > 0.05)


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    main()
