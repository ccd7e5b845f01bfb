"""A server as a process: started, waited for, asked how much memory it takes, and ended."""

import asyncio
import os
import re
import signal
import socket
import subprocess
import time
from pathlib import Path
from urllib.request import urlopen

POLL = 0.002
PATIENCE = 60.0


class ServerProcess:
    """Started by a command that has {port} in it; `ready_s` passed until it said that it is, at the path `ready`."""

    def __init__(self, command: list[str], ready: str, log: Path, environment: dict[str, str]) -> None:
        port = find_free_port()
        self.url = f"http://127.0.0.1:{port}"
        begin = time.perf_counter()
        self._name = command[0]
        with log.open("w") as errors:
            self._process = subprocess.Popen(
                [part.format(port=port) for part in command],
                stdin=subprocess.PIPE, stdout=errors, stderr=errors, env=installed_environment() | environment,
            )  # fmt: skip
        self.pid = self._process.pid
        try:
            self._wait(ready, begin + PATIENCE, log)
        except BaseException:
            self.close()
            raise
        self.ready_s = time.perf_counter() - begin

    def _wait(self, ready: str, end: float, log: Path) -> None:
        while True:
            if self._process.poll() is not None or time.perf_counter() > end:
                raise RuntimeError(f"{self._name} does not answer; {log} has what it said")
            try:
                with urlopen(self.url + ready) as response:
                    if response.status == 200:
                        return
            except OSError:  # refused while there is no socket, 503 while the model is being opened
                time.sleep(POLL)

    def close(self) -> None:
        """End it, kindly first."""
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.communicate(timeout=10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.communicate()


def installed_environment() -> dict[str, str]:
    """The variables of this process, but for one that would have modules compiled anew at every start."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}


def find_free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def memory_mb(pid: int) -> tuple[float, float]:
    """Memory that a process has resident, and its share of it where pages are shared (RSS, PSS)."""
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    kilobytes = dict(re.findall(r"^(\w+):\s+(\d+)", text, re.M))
    return int(kilobytes["Rss"]) / 1000, int(kilobytes["Pss"]) / 1000


async def watch_memory(pid: int, peaks: list[float]) -> None:
    """Keep the highest RSS and PSS, until cancelled."""
    while True:
        peaks[:] = [max(pair) for pair in zip(peaks, memory_mb(pid), strict=True)]
        await asyncio.sleep(0.25)
