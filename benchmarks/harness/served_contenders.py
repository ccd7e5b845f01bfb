"""Who competes as a server: how the model is built for it, how it is started, and how its clients ask."""

import asyncio
import itertools
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple, Protocol

from benchmarks.contenders import refrain_model
from benchmarks.harness import rivals
from benchmarks.harness.load import Ask, HttpClient, Messages, TimedReply
from benchmarks.harness.rivals import CannotRunError
from benchmarks.harness.server_process import ServerProcess
from refrain.chat import encoding
from refrain.exporters.gguf import writer


class Conditions(NamedTuple):
    """The same for all."""

    threads: int
    slots: int  # sequences that run at once
    context: int  # tokens of each
    temperature: float


class Running(Protocol):
    """A contender that answers; `ready_s` after its process was started it could."""

    pid: int
    ready_s: float

    def open_clients(self, count: int) -> list[Ask]: ...
    def close_clients(self) -> None: ...
    def close(self) -> None: ...


@dataclass(frozen=True)
class ServedContender:
    name: str
    build: Callable[[Path, Path], None]  # source, out
    start: Callable[[Path, Path, Conditions], Running]  # source, what was built, ...
    rival: str = ""  # who of another library has as many bits
    is_alone: bool = False  # one reply at a time: to show it, one question of each client is enough


class RunningServer:
    """A process that speaks HTTP."""

    def __init__(self, command: list[str], ready: str, log: Path, conditions: Conditions, **environment: str) -> None:
        self._process = ServerProcess(command, ready, log, environment | {"OMP_NUM_THREADS": str(conditions.threads)})
        self._temperature, self._clients = conditions.temperature, list[HttpClient]()
        self.pid, self.ready_s = self._process.pid, self._process.ready_s

    def open_clients(self, count: int) -> list[Ask]:
        self._clients = [HttpClient(self._process.url, self._temperature) for _ in range(count)]
        return [client.ask for client in self._clients]

    def close_clients(self) -> None:
        for client in self._clients:
            client.close()
        self._clients = []

    def close(self) -> None:
        self._process.close()


class RunningLoop:
    """A process that reads prompts as lines and answers one at a time."""

    def __init__(self, source: Path, out: Path, conditions: Conditions) -> None:
        python = rivals.make_interpreter("genai", source.parents[1])
        command = [str(python), "-m", "benchmarks.contenders.genai_loop", str(out), str(conditions.threads)]
        self._tokenizer, self._numbers = encoding.load_tokenizer(source), itertools.count()
        begin = time.perf_counter()
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                         stderr=out.with_suffix(".log").open("w"), bufsize=0)  # fmt: skip
        assert self._process.stdin and self._process.stdout
        self._stdin, self._stdout = self._process.stdin, self._process.stdout
        if self._stdout.readline() != b"ready\n":
            raise CannotRunError(out.with_suffix(".log").read_text().strip().splitlines()[-1])
        self.pid, self.ready_s = self._process.pid, time.perf_counter() - begin
        self._waiting: dict[int, tuple[TimedReply, int, asyncio.Event]] = {}
        self._rest = b""

    def open_clients(self, count: int) -> list[Ask]:
        os.set_blocking(self._stdout.fileno(), False)
        asyncio.get_running_loop().add_reader(self._stdout, self._read)
        return [self._ask] * count

    def close_clients(self) -> None:
        asyncio.get_running_loop().remove_reader(self._stdout)

    async def _ask(self, messages: Messages, new: int) -> TimedReply:
        number, reply, has_ended = next(self._numbers), TimedReply(time.perf_counter()), asyncio.Event()
        self._waiting[number] = reply, new, has_ended
        prompt = encoding.encode_prompt(self._tokenizer, messages)
        self._stdin.write(json.dumps({"id": number, "prompt": prompt, "new": new}).encode() + b"\n")
        await has_ended.wait()
        return reply

    def _read(self) -> None:
        now, lines = time.perf_counter(), (self._rest + self._stdout.read(1 << 16)).split(b"\n")
        self._rest = lines.pop()
        for line in lines:
            reply, new, has_ended = self._waiting[int(line)]
            reply.times.append(now)
            reply.tokens += 1
            if reply.tokens == new:
                has_ended.set()

    def close(self) -> None:
        self._process.communicate()


def start_refrain(_: Path, out: Path, conditions: Conditions) -> Running:
    settings = {"MAX_NUM_SEQS": conditions.slots, "THREADS": conditions.threads}
    command = [sys.executable, "-m", "refrain.cli.main", "serve", "--model", str(out), "--port", "{port}"]
    return RunningServer(command, "/readyz", out.with_suffix(".log"), conditions,
                         **{f"REFRAIN_SERVE_{name}": str(value) for name, value in settings.items()})  # fmt: skip


def start_llama(_: Path, out: Path, conditions: Conditions) -> Running:
    options = {"threads": conditions.threads, "slots": conditions.slots, "context": conditions.context}
    command = [sys.executable, "-m", "refrain.exporters.gguf.llama_server", str(out), "--port", "{port}"]
    return RunningServer([*command, *(word for name, value in options.items() for word in (f"--{name}", str(value)))],
                         "/health", out.with_suffix(".log"), conditions)  # fmt: skip


def build_genai(source: Path, out: Path) -> None:
    """By its own model builder, which wants libraries of its own."""
    python = rivals.make_interpreter("genai", source.parents[1])
    command = [str(python), "-m", "benchmarks.contenders.genai_model", "make", str(source), str(out), out.name]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise CannotRunError(done.stdout.strip() or f"its builder ended with status {done.returncode}")


CONTENDERS = [
    *(
        ServedContender(
            f"refrain {name}",
            partial(refrain_model.export_variant, name=name),
            start_refrain,
            f"llama.cpp {rival}",
        )
        for name, rival in (("int8", "q8_0"), ("int4", "q4_0"))
    ),
    *(
        ServedContender(f"llama.cpp {name}", partial(writer.write_file, kind=name), start_llama)
        for name in ("q8_0", "q4_0")
    ),
    *(ServedContender(f"genai {name}", build_genai, RunningLoop, is_alone=True) for name in ("int8", "int4")),
]


def build(contender: ServedContender, source: Path) -> Path:
    """What it opens, built where it is not there yet."""
    library, precision = contender.name.split()
    out = source.parent / "servers" / library / precision
    if not out.exists():
        out.parent.mkdir(parents=True, exist_ok=True)
        contender.build(source, out)
    return out
