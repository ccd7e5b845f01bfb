"""Servers that are started for a check: as `refrain serve` is, on a free port, with settings of their own."""

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from refrain.serving.selftest.client import OwnServer, Target
from refrain.serving.selftest.outcome import NotApplicableError

ADDRESS = re.compile(r"http://[\w.\[\]:-]+:\d+")
PREFIX = "REFRAIN_SERVE_"


def require_own(target: Target) -> OwnServer:
    """How to start another server like the target; NotApplicableError for one that somebody else runs."""
    if target.own is None:
        raise NotApplicableError("needs a server of its own, with settings of its own; leave the URL out")
    return target.own


@contextmanager
def start_server(own: OwnServer, **settings: Any) -> Iterator[Target]:
    """A server that answers, with these settings; it ends with the block. ValueError where it does not start."""
    values = {"model": own.model, **settings, "port": 0}
    environment = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
    environment |= {PREFIX + name.upper(): str(value) for name, value in values.items()}
    with tempfile.TemporaryFile("w+") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "refrain.cli.main", "serve"],
            env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log, text=True,
        )  # fmt: skip
        own.processes[process.pid] = process
        try:
            yield Target(read_address(process, log), settings.get("api_key"), process_id=process.pid, own=own)
        finally:
            process.terminate()
            end_process(process)
            del own.processes[process.pid]


def read_address(process: subprocess.Popen[str], log: Any) -> str:
    """The address on the line that a server prints once it answers."""
    for line in process.stdout or []:
        if found := ADDRESS.search(line):
            return found[0]
    log.seek(0)
    raise ValueError(f"the server did not start: {log.read().strip().rpartition(chr(10))[2]}")


def end_process(process: subprocess.Popen[str]) -> None:
    """Wait for a process that was told to end; kill one that does not."""
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    if process.stdout is not None:
        process.stdout.close()


def resident_mb(target: Target) -> float:
    """Memory of a server's process that is its own, in MB."""
    status = Path(f"/proc/{target.process_id}/status").read_text()
    found = re.search(r"RssAnon:\s+(\d+) kB", status)
    return int(found[1]) / 1024 if found else 0.0
