"""Several processes that train together: tell them apart, and let them agree."""

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist

T = TypeVar("T")


PATIENCE = timedelta(hours=2)  # that the others have while one works: it may wait for a run on the same checkpoints


def count() -> int:
    """How many processes train together; 1 outside of a launch."""
    return int(os.environ.get("WORLD_SIZE", "1")) if "RANK" in os.environ else 1


def number() -> int:
    """Which of them this is, from 0."""
    return int(os.environ.get("RANK", "0"))


def first() -> bool:
    """Whether this is the process that writes."""
    return number() == 0


def turns(things: int) -> range:
    """Which of so many things are this process's turn; all have as many turns, so the last may be beyond the things."""
    return range(number(), -(-things // count()) * count(), count())


def any_of(claim: bool) -> bool:
    """Whether the claim holds in any process; all must ask."""
    return bool(gathered(float(claim)) > 0)


def gathered(value: float) -> float:
    """The sum of a number over all processes; all must ask."""
    return float(summed(torch.tensor(value, dtype=torch.float64)))


def summed(tensor: torch.Tensor) -> torch.Tensor:
    """The sum of a tensor over all processes, where the tensor lies; all must ask."""
    if not dist.is_initialized():
        return tensor
    total = tensor.cuda() if dist.get_backend() == "nccl" else tensor.clone()
    dist.all_reduce(total)
    return total.to(tensor.device)


@contextmanager
def led(context: AbstractContextManager[T]) -> Iterator[T]:
    """What the first process alone enters; inside, each has its value."""
    begin()
    with ExitStack() as stack:
        yield agreed(stack.enter_context(context) if first() else None)


def begin() -> None:
    """Meet the others, over NCCL with a device for each, and over Gloo on CPUs; ValueError when devices are too few."""
    if count() == 1 or dist.is_initialized():
        return
    devices, here = torch.cuda.device_count(), int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    if 0 < devices < here and "CUDA_VISIBLE_DEVICES" not in os.environ:  # with it, each may see its own alone
        raise ValueError(f"launch.processes={count()} needs {here} devices on this machine, and it has {devices}; "
                         f"set launch.processes={devices}")  # fmt: skip
    if devices:
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]) % devices)
    else:
        os.environ["ACCELERATE_TORCH_DEVICE"] = "cpu"  # not its cpu:0, where nothing that was saved can be loaded to
    dist.init_process_group("nccl" if devices else "gloo", timeout=PATIENCE)


def agreed(value: Any) -> Any:
    """What the first process says, in all of them."""
    said = [value]
    if dist.is_initialized():
        dist.broadcast_object_list(said)
    return said[0]


def dismiss_others() -> None:
    """Here all but the first process end: what is left is for one of them to write."""
    if dist.is_initialized():
        dist.barrier()
        dist.destroy_process_group()
    if not first():
        raise SystemExit
