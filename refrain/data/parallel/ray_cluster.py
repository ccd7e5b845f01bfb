"""A function applied to a stream of items as Ray Data jobs: on the cluster of RAY_ADDRESS, or on this machine."""

import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Any

from refrain.data.parallel.process_pool import Item, Result, run_item, unwrap_outcome

ITEMS_PER_CPU = 8  # items for each CPU that are taken at a time, for each window is a job of its own


@dataclass(frozen=True)
class Boxed:
    """Something that Ray's tables carry as it is; they would make a list of a tuple."""

    content: Any


def map_on_ray(function: Callable[[Item], Result], items: Iterator[Item], workers: int) -> Iterator[Result]:
    """One job after the other, each for a window of the stream; results in the order of the items."""
    with ray_session(workers) as ray:
        count = ITEMS_PER_CPU * int(ray.cluster_resources()["CPU"])
        while window := [{"boxed": Boxed(item)} for item in islice(items, count)]:
            rows = ray.data.from_items(window, override_num_blocks=len(window))
            for row in rows.map(partial(run_boxed, function)).iter_rows():
                yield unwrap_outcome(row["boxed"].content)


def run_boxed(function: Callable[[Any], Any], row: dict[str, Boxed]) -> dict[str, Boxed]:
    """One row of a Ray Data job: a boxed item in, a boxed outcome out."""
    return {"boxed": Boxed(run_item(function, row["boxed"].content))}


@contextmanager
def ray_session(workers: int) -> Iterator[Any]:
    """Ray, running and silent inside; on this machine it listens on the loopback interface only.

    It takes seconds to start, so a session within another one is the same.
    """
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    has_cluster = "RAY_ADDRESS" in os.environ
    if not has_cluster:
        os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"  # read on import: no cluster, so no other interface
    try:
        import ray.data
    except ImportError as error:
        raise ValueError("data.engine=ray needs the package ray: pip install 'refrain-lm[ray]'") from error
    if ray.is_initialized():
        yield ray
        return
    settings = {} if has_cluster else {"address": "local", "num_cpus": workers, "include_dashboard": False}
    ray.init(log_to_driver=False, logging_level=logging.ERROR, **settings)
    context = ray.data.DataContext.get_current()
    context.execution_options.preserve_order = True
    context.enable_progress_bars = False
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    try:
        yield ray
    finally:
        ray.shutdown()
