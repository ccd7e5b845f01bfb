"""A pool of processes that apply one function to a stream of items, the results in the order of the items."""

import os
import signal
import traceback
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing import forkserver, get_context
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerContext
from multiprocessing.process import BaseProcess
from queue import SimpleQueue
from threading import Thread
from typing import Any, NamedTuple, TypeVar

from refrain.data.parallel.freed_memory import keep_freed_memory

Item = TypeVar("Item")


Result = TypeVar("Result")


ITEMS_PER_WORKER = 2  # items that a worker has at most: one that it works on, and the next


PRELOADED: list[str] = []  # modules that the server of workers has begun to import; nothing before it is started


class Worker(NamedTuple):
    process: BaseProcess
    connection: Connection


def map_in_processes(function: Callable[[Item], Result], items: Iterator[Item], workers: int) -> Iterator[Result]:
    """Items go to the workers in turn, and their results are taken in turn."""
    pool: list[Worker] = []
    pending: deque[Worker] = deque()
    try:
        for number, item in enumerate(items):
            if number < workers:
                pool.append(start_worker(function))
            pending.append(pool[number % workers])
            send_item(pending[-1], item, workers)
            if len(pending) == ITEMS_PER_WORKER * workers:
                yield receive_result(pending.popleft(), workers)
        while pending:
            yield receive_result(pending.popleft(), workers)
    finally:
        close_pool(pool)


@contextmanager
def map_at_once(function: Callable[[Item], Result], items: list[Item]) -> Iterator[Iterator[Result]]:
    """Each item is worked on in a process of its own from now on; their results, in order, are waited for when they are
    taken, inside."""
    pool: list[Worker] = []
    try:
        for item in items:
            pool.append(start_worker(function))
            send_item(pool[-1], item, len(items))
        yield (receive_result(worker, len(items)) for worker in pool)
    finally:
        close_pool(pool)


def close_pool(pool: list[Worker]) -> None:
    for worker in pool:
        worker.connection.close()  # a worker whose connection is closed ends at once, even amid an item
    for worker in pool:
        worker.process.join()


def start_server(function: Callable[[Any], Any]) -> ForkServerContext:
    """Have the process begun that workers are forked from, and what they need imported in it while this one goes on."""
    context = get_context("forkserver")
    if not PRELOADED:
        PRELOADED.append(function.__module__)
        context.set_forkserver_preload(PRELOADED)
    forkserver.ensure_running()
    return context


def start_worker(function: Callable[[Any], Any]) -> Worker:
    """A fresh process without a thread or a lock of this one, so that fork is safe; what it imports is shared."""
    context = start_server(function)
    parent_end, child_end = context.Pipe()
    process = context.Process(target=worker_loop, args=(child_end, function), daemon=True)
    process.start()
    child_end.close()
    return Worker(process, parent_end)


def worker_loop(connection: Connection, function: Callable[[Any], Any]) -> None:
    """Apply the function to what comes over the connection until it is closed, by the other side or by its death."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches us too, and the other side ends us
    keep_freed_memory()
    items: SimpleQueue[Any] = SimpleQueue()
    Thread(target=receive_items, args=(connection, items), daemon=True).start()
    while True:
        connection.send(run_item(function, items.get()))


def receive_items(connection: Connection, items: "SimpleQueue[Any]") -> None:
    """Take items in while others are worked on: the other side can always send, so it is never stuck."""
    try:
        while True:
            items.put(connection.recv())
    finally:  # also when an item is too large for the memory
        os._exit(0)


def run_item(function: Callable[[Any], Any], item: Any) -> tuple[Any, Exception | None]:
    """The result, or what was raised instead."""
    os.environ["TOKENIZERS_PARALLELISM"] = "false"  # the other cores have workers of their own
    try:
        return function(item), None
    except ValueError as error:
        return None, error
    except Exception as error:  # a defect
        error.add_note(traceback.format_exc())
        return None, error


def send_item(worker: Worker, item: Any, workers: int) -> None:
    try:
        worker.connection.send(item)
    except OSError as error:
        raise ValueError(worker_died_message(workers)) from error


def receive_result(worker: Worker, workers: int) -> Any:
    try:
        outcome = worker.connection.recv()
    except (EOFError, OSError) as error:
        raise ValueError(worker_died_message(workers)) from error
    return unwrap_outcome(outcome)


def unwrap_outcome(outcome: tuple[Any, Exception | None]) -> Any:
    result, error = outcome
    if error is not None:
        raise error
    return result


def worker_died_message(workers: int) -> str:
    return (
        f"a process of data.workers={workers} was killed, most often because memory ran out;"
        f" set data.workers={workers // 2}"
    )
