"""Who applies a function to a stream of items: this process, a pool of processes, or a Ray cluster."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from itertools import chain, islice
from time import perf_counter

from refrain.data.parallel import process_pool, ray_cluster
from refrain.data.parallel.freed_memory import keep_freed_memory
from refrain.data.parallel.process_pool import Item, Result
from refrain.pipeline.cores import available_cores
from refrain.pipeline.schema import DataConfig

HEAD_START, LATER_START = 0.3, 0.05  # seconds, about what a pool takes to start: the first one, and a later one


def parallel_map(function: Callable[[Item], Result], items: Iterator[Item], data: DataConfig) -> Iterator[Result]:
    """What the function makes of each item, lazily; what it raises for one is raised in its turn.

    Items and results must be picklable, and so must the function, which goes to each worker once: it carries settings,
    and what it loads it keeps in a functools.cache. ValueError when a worker dies, or when Ray is not installed.
    """
    keep_freed_memory()
    return (ray_cluster.map_on_ray if data.engine == "ray" else map_locally)(function, items, worker_count(data))


def map_at_once(
    function: Callable[[Item], Result], items: list[Item], data: DataConfig
) -> AbstractContextManager[Iterator[Result]]:
    """Inside, what the function makes of a few items that take long: at the same time, in processes of this machine."""
    if worker_count(data) < 2:
        return nullcontext(map(function, items))
    return process_pool.map_at_once(function, items)


def engine_session(data: DataConfig) -> AbstractContextManager[object]:
    """Inside, what runs the functions is started once for all of them."""
    return ray_cluster.ray_session(worker_count(data)) if data.engine == "ray" else nullcontext()


def worker_count(data: DataConfig) -> int:
    return available_cores() if data.workers is None else data.workers


def map_locally(function: Callable[[Item], Result], items: Iterator[Item], workers: int) -> Iterator[Result]:
    """In this process while that is quicker than starting a pool, and with one worker always."""
    start, head_start = perf_counter(), min(HEAD_START, LATER_START) if process_pool.PRELOADED else HEAD_START
    for number, item in enumerate(items):
        if number and workers > 1 and perf_counter() - start > HEAD_START / 3:
            process_pool.start_server(function)  # meanwhile
        yield function(item)
        if workers > 1 and perf_counter() - start > head_start:
            break
    next_items = list(islice(items, 2))
    if len(next_items) == 2:
        yield from process_pool.map_in_processes(function, chain(next_items, items), workers)
    else:
        yield from map(function, next_items)
