"""The processes of a stage that runs in several: started, waited for, and the reason when one fails."""

import logging
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from queue import Empty, Queue
from threading import Thread

from refrain.pipeline.cores import available_cores

log = logging.getLogger(__name__)
Worker = subprocess.Popen[bytes]
GRACE = 10.0  # seconds that the others have to end by themselves when one has failed


def run_workers(count: int) -> None:
    """This command in so many processes, until all have done it.

    ValueError with the reason when a worker fails. Ctrl-C and SIGTERM are passed on, so that a checkpoint is made.
    """
    folder = Path(tempfile.mkdtemp(prefix="refrain-workers-"))
    log.info("%d processes", count)
    port = free_port()
    workers = [start_worker(number, count, port, log_file(folder, number)) for number in range(count)]
    with forward_signals(workers[0]):
        failed = wait_for_all(workers)
    if failed:
        report_failure(failed, workers, folder)
    shutil.rmtree(folder)


def start_worker(number: int, count: int, port: int, log: Path) -> Worker:
    """This command as one of `count` workers. The first speaks to whom we speak; the words of others go to a file."""
    environment = {
        "OMP_NUM_THREADS": str(max(1, available_cores() // count)),
        "GLOO_SOCKET_IFNAME": next((name for _, name in socket.if_nameindex() if name.startswith("lo")), ""),
        **os.environ,
        **{"RANK": str(number), "LOCAL_RANK": str(number), "WORLD_SIZE": str(count), "LOCAL_WORLD_SIZE": str(count)},
        **{"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)},
    }
    with log.open("wb") as file:
        return subprocess.Popen(
            [sys.executable, *sys.orig_argv[1:]],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=None if number == 0 else file,
            start_new_session=True,  # Ctrl-C on a terminal reaches us alone, and a worker once
        )


def free_port() -> int:
    """A port of the loopback interface that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def forward_signals(first: Worker) -> Iterator[None]:
    """Inside, Ctrl-C and SIGTERM go to the first worker, which tells the others at the end of its step."""
    signals = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(number, lambda number, frame: first.send_signal(number)) for number in signals]
    try:
        yield
    finally:
        for number, handler in zip(signals, before, strict=True):
            signal.signal(number, handler)


def wait_for_all(workers: list[Worker]) -> list[int]:
    """The numbers of those that failed, first come first; when one has, those that wait for it are ended."""
    ended: list[int] = []
    ends: Queue[int] = Queue()
    for number, worker in enumerate(workers):
        Thread(target=lambda number=number, worker=worker: ends.put((worker.wait(), number)[1]), daemon=True).start()
    while len(ended) < len(workers):
        try:
            ended.append(ends.get(timeout=GRACE if any(workers[number].returncode for number in ended) else None))
        except Empty:
            for worker in workers:
                worker.kill()
    return [number for number in ended if workers[number].returncode]


def report_failure(failed: list[int], workers: list[Worker], folder: Path) -> None:
    """End with the reason of the failure: silently, if the first worker has said it, and else in a sentence."""
    first = log_file(folder, 0).read_text(errors="replace")
    if 0 in failed and workers[0].returncode > 0 and "Traceback" not in first:
        shutil.rmtree(folder)
        sys.exit(workers[0].returncode)
    number = failed[0]
    code, worker = workers[number].returncode, f"process {number} of {len(workers)}"
    text = log_file(folder, number).read_text(errors="replace").strip()
    last = text.rpartition("\n")[2]
    if code > 0 and "Traceback" in text:
        raise ValueError(f"{worker} failed: {last}; {log_file(folder, number)} holds its traceback")
    if code < 0:
        ended = f"{worker} was ended by {signal.Signals(-code).name}"
        way_out = "the next run goes on from the last checkpoint"
        if text:
            raise ValueError(f"{ended}: {last}; {log_file(folder, number)} holds all that it said; {way_out}")
        shutil.rmtree(folder)
        raise ValueError(f"{ended}; {way_out}")
    shutil.rmtree(folder)
    raise ValueError(last.partition(": ")[2])


def log_file(folder: Path, number: int) -> Path:
    """Where the words of a worker go."""
    return folder / f"{number}.txt"
