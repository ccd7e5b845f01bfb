"""A training ends at the first number that is not finite: with it every later weight would be nan.

What is asked here is the same in all processes, so that all stop at the same step.
"""

from collections.abc import Mapping
from math import isfinite

import torch

from refrain.training.distributed import fsdp, processes


def require_finite_base(model: torch.nn.Module) -> None:
    """ValueError with the first tensor of a model that has values which are not finite, before the first step."""
    if names := find_nonfinite(dict(model.named_parameters())):
        own = names[0].removeprefix("base_model.model.").replace(".base_layer.", ".")
        more = f" and {len(names) - 1} more tensors" if names[1:] else ""
        raise ValueError(f"the model to begin with has values that are not finite in {own}{more}, so nothing can be "
                         "learned; choose another base, or copy it again: model.hub, model.folder")  # fmt: skip


def require_finite_weights(model: torch.nn.Module, step: int, way_out: str) -> None:
    """ValueError when a weight that learns is no longer finite."""
    learning = {name: weight for name, weight in model.named_parameters() if weight.requires_grad}
    if names := find_nonfinite(learning):
        raise ValueError(f"after step {step} {names[0]} has values that are not finite; {way_out}")


def find_nonfinite(weights: Mapping[str, torch.Tensor]) -> list[str]:
    """The names of those with nan or infinity in any process; all must ask. Integers have neither."""
    floats = {name: fsdp.local_shard(weight) for name, weight in weights.items() if weight.is_floating_point()}
    flags = torch.tensor([float(not is_finite(weight)) for weight in floats.values()])
    return [name for name, flag in zip(floats, processes.all_reduce_sum(flags).tolist(), strict=True) if flag]


def is_finite(weight: torch.Tensor) -> bool:
    """Whether no value is nan or infinite, without a copy of them."""
    return weight.numel() == 0 or all(map(isfinite, torch.stack(torch.aminmax(weight)).tolist()))


def require_finite_number(value: float, name: str, step: int, way_out: str) -> None:
    """ValueError unless the number, which all processes have, is finite; `step` counts those that were made."""
    if isfinite(value):
        return
    if step == 0:
        raise ValueError(f"the {name} is {value} before anything was learned, though every weight of the base is "
                         f"finite: its activations overflow; {way_out}")  # fmt: skip
    raise ValueError(f"the {name} is {value} after step {step}: the training has diverged; {way_out}")
