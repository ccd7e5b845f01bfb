"""llama.cpp's server as a process of its own, from the wheel xllamacpp, which needs no compiler.

    python -m refrain.exporters.gguf.llama_server MODEL.gguf [--port N] [--threads N] [--slots N] [--context N] [--fp32]

prints a line with its address once it answers, and ends with the process that started it, or by SIGTERM.
"""

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPException
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Any
from urllib.error import HTTPError


@contextmanager
def run_server(model: Path, *options: str) -> Iterator[str]:
    """The address of a server, `http://127.0.0.1:PORT`, that is ready and ends with the block.

    ValueError, with what llama.cpp said, where it does not open the file or ends while it is asked.
    """
    command = [sys.executable, "-m", "refrain.exporters.gguf.llama_server", str(model), *options]
    with (
        TemporaryFile("w+") as log,
        subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log) as process,
    ):
        try:
            address = process.stdout.readline().decode().strip() if process.stdout else ""
            if not address:
                raise ValueError(f"{model.name}: llama.cpp does not open it: {last_error(log, process.wait())}")
            yield address
        except (OSError, HTTPException) as error:
            reason = f"llama.cpp answers: {error}"
            if not isinstance(error, HTTPError):
                process.terminate()
                reason = f"llama.cpp ended while it was asked ({error}): {last_error(log, process.wait())}"
            raise ValueError(f"{model.name}: {reason}") from error
        finally:
            process.terminate()


def last_error(log: IO[str], status: int) -> str:
    """The first line of a log that tells of an error, without the time before it; else how the process ended."""
    log.seek(0)
    line = next((line for line in log if "error" in line.lower() or "GGML_ASSERT" in line), "")
    return line.partition(" E ")[2].strip() or line.strip() or f"it says no more than its status {status}"


def main() -> None:
    import xllamacpp

    options = arguments()
    server = xllamacpp.Server(make_params(options))  # returns when the model is open and the port is bound
    print(server.listening_address, flush=True)
    parent = os.getppid()
    while os.getppid() == parent:
        time.sleep(0.5)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("--port", type=int, default=0, help="0 for a free one")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--slots", type=int, default=4, help="requests that run at once")
    parser.add_argument("--context", type=int, default=1024, help="tokens of each slot")
    parser.add_argument("--fp32", action="store_true", help="keys, values and attention in fp32, to compare logits")
    return parser.parse_args()


def make_params(options: argparse.Namespace) -> Any:
    """Its settings: those that it comes with, but for threads, slots, and what is asked of them."""
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path, params.port = str(options.model), options.port
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = options.threads
    params.n_parallel, params.n_ctx = options.slots, options.slots * options.context
    if options.fp32:
        params.cache_type_k = params.cache_type_v = xllamacpp.ggml_type.GGML_TYPE_F32
        params.flash_attn_type = xllamacpp.llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_DISABLED
    return params


if __name__ == "__main__":
    main()
