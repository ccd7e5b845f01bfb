"""Weights that are too large for one process: each holds its share of them, of their gradients and of the moments.

PyTorch's own `fully_shard` (FSDP2), on any device: a layer's weights are whole only while the layer computes.
"""

import json
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, cast

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor
from transformers import PreTrainedModel

from refrain.training.distributed import processes


def shard(model: PreTrainedModel, shard: bool) -> PreTrainedModel:
    """The model with each weight over all processes, if it is to be; each has built the same one."""
    if shard:
        layers = [part for part in model.modules() if type(part).__name__ in (model._no_split_modules or ())]
        for part in (*layers, model):
            fully_shard(part, reshard_after_forward=True)
    return model


def is_sharded(model: Any) -> bool:
    """Whether this process holds a share of the weights and not all."""
    return any(isinstance(weight, DTensor) for weight in model.parameters())


def unshard(model: torch.nn.Module) -> None:
    """Whole weights in ordinary memory, if they are spread; all processes must ask."""
    full_weights: dict[torch.Tensor, torch.nn.Parameter] = {}
    for part in model.modules():
        for name, weight in part._parameters.items():
            if isinstance(weight, DTensor):
                if weight not in full_weights:  # a tied one has two places
                    full_weights[weight] = torch.nn.Parameter(weight.full_tensor().cpu(), weight.requires_grad)
                part._parameters[name] = full_weights[weight]


class ShardedModule(torch.nn.Module):
    """A model over all processes, in the form of those that the Trainer leaves as they are."""

    def __init__(self, module: torch.nn.Module, autocast: Callable[[], AbstractContextManager[None]]) -> None:
        super().__init__()
        self.module, self.autocast = module, autocast

    def forward(self, **inputs: Any) -> Any:
        with self.autocast():
            return self.module(**inputs)


def trainable_shards(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    """The weights that a training changes, of each the share of this process; a tied one has one name."""
    return {name: local_shard(weight) for name, weight in model.named_parameters() if weight.requires_grad}


def local_shard(weight: torch.Tensor) -> torch.Tensor:
    """The share of this process, in the same memory; of a weight that is not spread, all of it."""
    return (weight.to_local() if isinstance(weight, DTensor) else weight).detach()


def shard_file(folder: Path) -> Path:
    """Where this process keeps its share of a checkpoint."""
    return folder / f"share-{processes.rank()}.safetensors"


def save_shard(folder: Path, model: Any, optimiser: Any, scheduler: Any) -> None:
    """This process's share of a checkpoint: the weights that learn, and what the optimiser knows of them."""
    folder.mkdir(parents=True, exist_ok=True)
    share = trainable_shards(model)
    for name, weight in model.named_parameters():
        if weight.requires_grad:
            share |= {f"{name} {key}": local_shard(value) for key, value in optimiser.state[weight].items()}
    save_file(share, shard_file(folder), {"scheduler": json.dumps(scheduler.state_dict())})


def load_shard(folder: Path, model: Any, optimiser: Any, scheduler: Any) -> None:
    """Go on from what `save` has kept."""
    share = load_file(shard_file(folder), device=str(local_shard(next(model.parameters())).device))
    for name, weight in model.named_parameters():
        if weight.requires_grad:
            local_shard(weight).copy_(share[name])
            states = {key.rpartition(" ")[2]: value for key, value in share.items() if key.startswith(f"{name} ")}
            optimiser.state[weight] = {key: like_weight(cast(DTensor, weight), value) for key, value in states.items()}
    with safe_open(shard_file(folder), "pt") as file:
        scheduler.load_state_dict(json.loads(file.metadata()["scheduler"]))
    for group, rate in zip(optimiser.param_groups, scheduler.get_last_lr(), strict=True):
        group["lr"] = rate


def like_weight(weight: DTensor, share: torch.Tensor) -> torch.Tensor:
    """A tensor spread as the weight is, of this process's share; a number, such as the count of steps, as it is."""
    if not share.ndim:
        return share
    return DTensor.from_local(share, weight.device_mesh, weight.placements, shape=weight.shape, stride=weight.stride())
