"""Who competes, and each contender as a process: built once for a shape, opened, then asked again and again."""

import json
import os
import shutil
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.contenders.protocol import SIZE
from benchmarks.harness import rivals
from benchmarks.harness.rivals import CannotRunError


@dataclass(frozen=True)
class Contender:
    library: str
    precision: str
    module: str  # in benchmarks/contenders
    rival: str | None = None  # the environment it wants; None: this one
    fresh: bool = False  # built anew in every run, for its code is what is being worked on

    @property
    def name(self) -> str:
        return f"{self.library} {self.precision}"


CONTENDERS = [
    Contender("torch", "fp32", "torch_model"),
    Contender("torch", "bf16", "torch_model"),
    Contender("optimum", "fp32", "optimum_model"),
    Contender("genai", "fp32", "genai_model", "genai"),
    Contender("genai", "int8", "genai_model", "genai"),
    Contender("genai", "int4", "genai_model", "genai"),
    Contender("openvino", "int8", "openvino_model", "openvino"),
    Contender("openvino", "int4", "openvino_model", "openvino"),
    Contender("llama.cpp", "f32", "llama_model", "llama"),
    Contender("llama.cpp", "q8_0", "llama_model", "llama"),
    Contender("llama.cpp", "q4_0", "llama_model", "llama"),
    Contender("refrain", "fp32", "refrain_model", fresh=True),
    Contender("refrain", "int8", "refrain_model", fresh=True),
    Contender("refrain", "int4", "refrain_model", fresh=True),
    Contender("refrain", "int8-32", "refrain_model", fresh=True),
    Contender("refrain", "int8-64", "refrain_model", fresh=True),
    Contender("refrain", "int4-64", "refrain_model", fresh=True),
]
SETS = {  # names for several at once
    "peers": [f"{library} {bits}" for library in ("genai", "openvino", "refrain") for bits in ("int8", "int4")]
    + ["refrain fp32", "refrain int8-32"],
    "others": ["torch fp32", "torch bf16", "optimum fp32", "genai fp32"]
    + [f"llama.cpp {bits}" for bits in ("f32", "q8_0", "q4_0")]
    + [f"refrain {bits}" for bits in ("fp32", "int8", "int4")],
    "all": [each.name for each in CONTENDERS],
}


class Child:
    """A contender's process, open. `start_s` is the time from its first instruction until it waits for a prompt."""

    def __init__(self, command: list[str | Path], threads: int, errors: Path, bytes_per_token: int) -> None:
        self.bytes_per_token = bytes_per_token
        self._errors = errors
        begin = time.perf_counter()
        with errors.open("w") as log:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env=os.environ | {"OMP_NUM_THREADS": str(threads), "HF_HUB_OFFLINE": "1"},
            )
        self.pid = self._process.pid
        self._read_answer()
        self.start_s = time.perf_counter() - begin

    def ask(self, prompt: list[int], new: int, rows: int = 1) -> dict[str, Any]:
        """What protocol.py promises in answer to a prompt; CannotRunError when nothing of the kind comes."""
        with suppress(BrokenPipeError):  # it has ended, which _read_answer puts in words
            print(json.dumps({"prompt": prompt, "new": new, "rows": rows}), file=self._process.stdin, flush=True)
        return self._read_answer()

    def close(self) -> None:
        self._process.communicate()

    def _read_answer(self) -> dict[str, Any]:
        assert self._process.stdout
        line = self._process.stdout.readline()
        if not line:
            status, lines = self._process.wait(), self._errors.read_text().strip().splitlines()
            raise CannotRunError(f"ended with status {status}{': ' + lines[-1] if lines else ''}")
        facts: dict[str, Any] = json.loads(line)
        if "error" in facts:
            raise CannotRunError(facts["error"])
        return facts


def start(contender: Contender, source: Path, folder: Path, threads: int) -> Child:
    """The contender, open, built first where it is not yet; CannotRunError when it cannot."""
    python = rivals.make_interpreter(contender.rival, folder) if contender.rival else sys.executable
    module = [python, "-m", f"benchmarks.contenders.{contender.module}"]
    out = source.parent / contender.library / contender.precision
    if contender.fresh or is_stale(out / SIZE):
        build([*module, "make", source, out, contender.precision], out)
    serve = [*module, "serve", out, str(threads)]
    errors, size = out.with_suffix(".log"), int((out / SIZE).read_text())
    Child(serve, threads, errors, size).close()  # for once: what it reads comes from the disk the first time
    return Child(serve, threads, errors, size)


def is_stale(built: Path) -> bool:
    """Whether it is not there, or was built before the code of a contender changed."""
    code = Path(__file__).parents[1].joinpath("contenders").glob("*.py")
    return not built.is_file() or built.stat().st_mtime < max(file.stat().st_mtime for file in code)


def build(command: list[str | Path], out: Path) -> None:
    shutil.rmtree(out, ignore_errors=True)
    out.parent.mkdir(parents=True, exist_ok=True)
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise CannotRunError(
            json.loads(done.stdout)["error"] if done.stdout else f"ended with status {done.returncode}"
        )
