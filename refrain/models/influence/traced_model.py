"""A trained model with the matrices by which its rows are compared."""

from dataclasses import dataclass
from pathlib import Path

from peft import PeftModel
from torch import nn
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from refrain.models.pytorch import loading

ADAPTER_PARTS = (".lora_A.", ".lora_B.")


@dataclass(frozen=True)
class TracedModel:
    """A model in evaluation mode, of which only these layers have gradients."""

    model: PreTrainedModel
    layers: dict[str, nn.Module]

    @property
    def sizes(self) -> list[int]:
        """The number of weights of each layer, without biases."""
        return [weight_of(layer).numel() for layer in self.layers.values()]

    @property
    def place(self) -> str:
        """Which weights these are, in words."""
        return "of the adapter" if isinstance(self.model, PeftModel) else "of the last block"


def open_traced(base: Path, adapter: Path) -> TracedModel:
    """What the train stage left: the adapter on its base, unquantised, or full weights, of which the last block counts.

    ValueError where nothing of it can be traced.
    """
    return trace_model(loading.load_finetuned(base, adapter))


def trace_model(model: PreTrainedModel) -> TracedModel:
    """The model, made ready; the magnitudes of DoRA and what is learned beside the matrices stay out."""
    layers = adapter_layers(model) if isinstance(model, PeftModel) else last_block_layers(model)
    if not layers:
        raise ValueError("models/adapter: it has no linear layer to trace rows through, such as an adapter on tables "
                         "alone; only nearness in words tells of this model")  # fmt: skip
    model.eval()
    model.requires_grad_(False)
    for layer in layers.values():
        weight_of(layer).requires_grad_(True)
    return TracedModel(model, layers)


def adapter_layers(model: nn.Module) -> dict[str, nn.Module]:
    """The matrices A and B of LoRA."""
    parts = ((name, part) for name, part in model.named_modules() if isinstance(part, nn.Linear))
    return {name: part for name, part in parts if any(part_name in f"{name}." for part_name in ADAPTER_PARTS)}


def last_block_layers(model: nn.Module) -> dict[str, nn.Module]:
    """The linear layers of the last block."""
    lists = [(name, part) for name, part in model.named_modules() if isinstance(part, nn.ModuleList)]
    name, blocks = max(lists, key=lambda entry: len(entry[1]))
    last = blocks[len(blocks) - 1]
    return {
        f"{name}.{len(blocks) - 1}.{below}": part
        for below, part in last.named_modules()
        if isinstance(part, nn.Linear | Conv1D)
    }


def weight_of(layer: nn.Module) -> nn.Parameter:
    weight = layer.weight
    assert isinstance(weight, nn.Parameter)
    return weight
