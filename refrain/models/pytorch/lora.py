"""Adapters: which layers may carry one, matrices to learn beside them (LoRA), and the folder that keeps these."""

import difflib
import json
import math
from pathlib import Path
from typing import Any, Literal, cast

import torch
from peft import LoraConfig, PeftModel, get_peft_model, get_peft_model_state_dict
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from refrain.pipeline.schema import AdapterConfig

ADAPTER_CONFIG = "adapter_config.json"
ADAPTER_WEIGHTS = "adapter_model.safetensors"
INITS: dict[str, Literal["pissa"] | bool] = {"zero": True, "pissa": "pissa"}  # in PEFT's words
PEFT_NAMES = {"rank": "r", "alpha": "lora_alpha", "dora": "use_dora", "rslora": "use_rslora"}  # ours: PEFT's
Layer = nn.Linear | Conv1D | nn.Embedding


def check_adapter(bare: PreTrainedModel, adapter: AdapterConfig, start: Path | None) -> None:
    """ValueError unless `bare`, which needs no weights, can carry the adapter and begin with the one in `start`."""
    owners: dict[int, set[str]] = {}
    for name, weight in bare.named_parameters(remove_duplicate=False):
        owners.setdefault(id(weight), set()).add(name.rpartition(".")[0])
    for name, layer in select_layers(bare, adapter.layers).items():
        if others := sorted(owners[id(layer.weight)] - {name}):
            raise ValueError(f"method.adapter.layers: {name} shares its weights with {others[0]}, so an adapter on it "
                             "cannot be folded in; leave it out, or train every weight: method=full")  # fmt: skip
        if adapter.init == "pissa":
            check_components(name, layer, adapter.rank)
    if start is not None:
        check_start(bare, adapter, start)


def select_layers(bare: PreTrainedModel, ends: list[str] | None) -> dict[str, Layer]:
    """Layers by ends of their names, or all linear ones but the head; ValueError gives the nearest to a wrong end."""
    layers = {name: part for name, part in bare.named_modules() if isinstance(part, Layer)}
    if ends is None:
        excluded = [bare.get_output_embeddings(), *(part for part in layers.values() if isinstance(part, nn.Embedding))]
        return {name: part for name, part in layers.items() if part not in excluded}
    chosen: set[str] = set()
    for end in ends:
        matches = {name for name, _ in bare.named_modules() if f".{name}".endswith(f".{end}")}
        if not matches or matches - layers.keys():
            known = sorted({name.rpartition(".")[2] for name in layers})
            near = difflib.get_close_matches(end, known, n=1, cutoff=0.4) or known
            raise ValueError(f"method.adapter.layers: {end} is the end of no layer's name; there is {', '.join(near)}")
        chosen |= matches
    return {name: layers[name] for name in layers if name in chosen}


def check_components(name: str, layer: Layer, rank: int) -> None:
    """ValueError unless the layer has that many principal components to begin with."""
    if isinstance(layer, nn.Embedding):
        raise ValueError(f"method.adapter.init=pissa is for linear layers and {name} is a table; "
                         "leave it out of method.adapter.layers, or set method.adapter.init=zero")  # fmt: skip
    if rank > (most := min(layer.weight.shape)):
        raise ValueError(f"method.adapter.rank={rank} is more than the {most} principal components of {name}; "
                         f"set method.adapter.rank={most}, or method.adapter.init=zero")  # fmt: skip


def check_start(bare: PreTrainedModel, adapter: AdapterConfig, start: Path) -> None:
    """ValueError unless the folder holds an adapter like the configured one, trained on such a model."""
    if not (start / ADAPTER_WEIGHTS).is_file():
        raise ValueError(
            "method.init_adapter: no adapter was trained at that revision; name one whose method has an adapter"
        )
    earlier = json.loads((start / ADAPTER_CONFIG).read_text(encoding="utf-8"))
    for name, peft_name in PEFT_NAMES.items():
        require_equal(name, earlier[peft_name], getattr(adapter, name))
    fresh = {name: list(weight.shape) for name, weight in adapter_state(attach_adapter(bare, adapter, None)).items()}
    with safe_open(start / ADAPTER_WEIGHTS, "pt") as file:
        saved = {name: file.get_slice(name).get_shape() for name in file.keys()}  # noqa: SIM118
    ends = (sorted({name.split(".lora_")[0].rpartition(".")[2] for name in shapes}) for shapes in (saved, fresh))
    require_equal("layers", *ends)
    if saved != fresh:
        raise ValueError("method.init_adapter: its adapter is for a base of another depth or width, or for other "
                         "method.adapter.layers; set both as they were then")  # fmt: skip


def require_equal(name: str, earlier_value: Any, configured_value: Any) -> None:
    """ValueError, with both values, if an earlier adapter differs there from the configured one."""
    if earlier_value != configured_value:
        earlier, configured = (json.dumps(value).replace('"', "") for value in (earlier_value, configured_value))
        raise ValueError(f"method.init_adapter: its adapter has {name}={earlier}, and method.adapter.{name} is "
                         f"{configured}; set method.adapter.{name}={earlier}")  # fmt: skip


def attach_adapter(base: PreTrainedModel, adapter: AdapterConfig, start: Path | None) -> PeftModel:
    """The base, frozen, with LoRA matrices (arXiv:2106.09685) beside its layers: fresh ones, or those of `start`."""
    settings = LoraConfig(
        r=adapter.rank,
        lora_alpha=adapter.alpha,
        lora_dropout=adapter.dropout,
        target_modules=adapter.layers or "all-linear",
        init_lora_weights=INITS[adapter.init],
        use_dora=adapter.dora,
        use_rslora=adapter.rslora,
        task_type="CAUSAL_LM",
    )
    model = cast(PeftModel, get_peft_model(base, settings))
    if adapter.init == "pissa":
        cast(Any, model).initial_adapter = {
            name: weight.clone() for name, weight in adapter_state(model).items()
        }  # for `pissa_to_lora`
    if start is not None:
        model.load_adapter(str(start), "default", is_trainable=True)
    return model


def adapter_state(model: PeftModel) -> dict[str, Tensor]:
    """What the adapter learns, by the names that its file has."""
    return dict(get_peft_model_state_dict(model, save_embedding_layers=False))


def save_adapter(model: PeftModel, out: Path) -> None:
    """The adapter in PEFT's format, for the base as it was; the same bytes every time."""
    model.save_pretrained(str(out), safe_serialization=True, save_embedding_layers=False)
    (out / "README.md").unlink(missing_ok=True)  # PEFT's empty model card
    settings = json.loads((out / ADAPTER_CONFIG).read_text(encoding="utf-8"))
    settings["target_modules"] = sorted(settings["target_modules"])  # PEFT keeps a set, so their order is chance
    if settings["init_lora_weights"] == "pissa":
        weights = load_file(out / ADAPTER_WEIGHTS)
        initial = cast(dict[str, Tensor], model.initial_adapter)
        save_file(pissa_to_lora(weights, initial, settings["use_rslora"]), out / ADAPTER_WEIGHTS, {"format": "pt"})
        settings |= {"init_lora_weights": True, "r": 2 * settings["r"], "lora_alpha": 2 * settings["lora_alpha"]}
    (out / ADAPTER_CONFIG).write_text(json.dumps(settings, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def pissa_to_lora(weights: dict[str, Tensor], initial: dict[str, Tensor], rslora: bool) -> dict[str, Tensor]:
    """The same function as matrices of twice the rank and alpha beside the base as it was.

    PiSSA takes scale * B0 A0 out of the weights and learns from A0 and B0 on. What is learned is the difference to
    them, scale * (B A - B0 A0) = scale * [B, -B0] [A; A0]; with alpha / sqrt(rank), the scale of both grows by sqrt 2.
    """
    result = dict(weights)
    for name, initial_weight in initial.items():
        if ".lora_A." in name:
            result[name] = torch.cat([weights[name], initial_weight])
        elif ".lora_B." in name:
            both = torch.cat([weights[name], -initial_weight], dim=1)
            result[name] = both / math.sqrt(2) if rslora else both
    return result
