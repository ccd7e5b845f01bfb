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


def world_size() -> int:
    """How many processes train together; 1 outside of a launch."""
    return int(os.environ.get("WORLD_SIZE", "1")) if "RANK" in os.environ else 1


def rank() -> int:
    """Which of them this is, from 0."""
    return int(os.environ.get("RANK", "0"))


def is_main() -> bool:
    """Whether this is the process that writes."""
    return rank() == 0


def own_turns(things: int) -> range:
    """Which of so many things are this process's turn; all have as many turns, so the last may be beyond the things."""
    return range(rank(), -(-things // world_size()) * world_size(), world_size())


def any_rank(claim: bool) -> bool:
    """Whether the claim holds in any process; all must ask."""
    return bool(sum_scalar(float(claim)) > 0)


def sum_scalar(value: float) -> float:
    """The sum of a number over all processes; all must ask."""
    return float(all_reduce_sum(torch.tensor(value, dtype=torch.float64)))


def all_reduce_sum(tensor: torch.Tensor) -> torch.Tensor:
    """The sum of a tensor over all processes, where the tensor lies; all must ask."""
    if not dist.is_initialized():
        return tensor
    total = tensor.cuda() if dist.get_backend() == "nccl" else tensor.clone()
    dist.all_reduce(total)
    return total.to(tensor.device)


@contextmanager
def enter_on_main(context: AbstractContextManager[T]) -> Iterator[T]:
    """What the first process alone enters; inside, each has its value."""
    init_process_group()
    with ExitStack() as stack:
        yield broadcast(stack.enter_context(context) if is_main() else None)


def init_process_group() -> None:
    """Meet the others, over NCCL with a device for each, and over Gloo on CPUs; ValueError when devices are too few."""
    if world_size() == 1 or dist.is_initialized():
        return
    devices, here = torch.cuda.device_count(), int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    if 0 < devices < here and "CUDA_VISIBLE_DEVICES" not in os.environ:  # with it, each may see its own alone
        raise ValueError(f"launch.processes={world_size()} needs {here} devices on this machine, and it has {devices}; "
                         f"set launch.processes={devices}")  # fmt: skip
    if devices:
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]) % devices)
    else:
        os.environ["ACCELERATE_TORCH_DEVICE"] = "cpu"  # not its cpu:0, where nothing that was saved can be loaded to
    dist.init_process_group("nccl" if devices else "gloo", timeout=PATIENCE)


def broadcast(value: Any) -> Any:
    """What the first process says, in all of them."""
    values = [value]
    if dist.is_initialized():
        dist.broadcast_object_list(values)
    return values[0]


def exit_other_ranks() -> None:
    """Here all but the first process end: what is left is for one of them to write."""
    if dist.is_initialized():
        dist.barrier()
        dist.destroy_process_group()
    if not is_main():
        raise SystemExit
