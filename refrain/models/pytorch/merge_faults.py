"""What is wrong with a merge, seen in the weights and settings themselves: every matrix must be base + adapter.

Logits show that two models differ, and not why; and what an adapter that learned little does to them is less than what
fp32 rounds away. Here both models are compared row by row in float64, a few rows at a time.
"""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import torch
from peft import PeftModel
from peft.tuners.lora import LoraLayer
from safetensors import safe_open
from torch import Tensor
from transformers import PreTrainedModel

from refrain.pipeline import progress

ADAPTER = "default"
CHUNK = 2**22  # weights in float64 at once
SHARE = 1e-3  # of what the adapter changes in a row: the error that folding may have
ROUNDING = 2.0**-21  # of a row's own length
NO_INFLUENCE = {
    "architectures", "bos_token_id", "dtype", "eos_token_id", "pad_token_id", "torch_dtype", "transformers_version",
    "use_cache",
}  # fmt: skip


@torch.no_grad()
def find_faults(adapted: PreTrainedModel, merged: PreTrainedModel, out: Path) -> list[str]:
    """A sentence for each thing that is wrong with the model that was saved to `out`; none where all is right."""
    if sentences := list(not_finite(adapted)):
        return sentences
    faults = [*quantized_base(adapted), *adapter_on_shared(adapted), *missing_tensors(merged, out)]
    return [*faults, *other_settings(adapted, merged), *([] if faults else wrong_weights(adapted, merged))]


def not_finite(adapted: PreTrainedModel) -> Iterator[str]:
    """Whether base or adapter holds what is no number."""
    names = [name for name, weight in adapted.named_parameters() if not is_finite(weight)]
    if names:
        owner = "the adapter" if any("lora_" in name for name in names) else "the base"
        way_out = "train again with a smaller train.lr" if owner == "the adapter" else "take another base"
        yield f"{owner} holds nan or infinity, first in {names[0].removeprefix('base_model.model.')}; {way_out}"


def is_finite(weight: Tensor) -> bool:
    return all(bool(torch.isfinite(part).all()) for part in weight.flatten().split(CHUNK))


def quantized_base(adapted: PreTrainedModel) -> Iterator[str]:
    """Whether weights of the base are in fewer bits, into which nothing can be folded."""
    if getattr(adapted.config, "quantization_config", None) is not None:
        yield "the base is quantised (quantization_config in its config.json); take the weights it was made from"


def adapter_on_shared(adapted: PreTrainedModel) -> Iterator[str]:
    """Whether an adapter stands beside a matrix that another layer uses too."""
    owners: dict[int, list[str]] = {}
    for name, weight in adapted.named_parameters(remove_duplicate=False):
        if "lora_" not in name:
            owners.setdefault(id(weight), []).append(layer_name(name))
    for name, layer in lora_layers(adapted):
        if others := [other for other in owners[id(layer.get_base_layer().weight)] if other != name]:
            yield (f"the adapter on {name} cannot be folded in, for {others[0]} has the same weights; "
                   "leave it out of method.adapter.layers")  # fmt: skip


def missing_tensors(merged: PreTrainedModel, out: Path) -> Iterator[str]:
    """Whether the files lack a weight of the model, or hold it in another precision."""
    types: dict[str, str] = {}
    for path in sorted(out.glob("*.safetensors")):
        with safe_open(path, "pt") as file:
            types |= {name: file.get_slice(name).get_dtype() for name in file.keys()}  # noqa: SIM118
    stored = {id(weight) for name, weight in merged.named_parameters(remove_duplicate=False) if name in types}
    if missing := [name for name, weight in merged.named_parameters() if id(weight) not in stored]:
        yield f"{out.name} has no {missing[0]}" + (
            f", and {len(missing) - 1} others are missing" if missing[1:] else ""
        )
    if other := [name for name, kind in types.items() if kind != "F32"]:
        yield f"{other[0]} is stored as {types[other[0]]}, not as F32"


def other_settings(adapted: PreTrainedModel, merged: PreTrainedModel) -> Iterator[str]:
    """Settings of config.json that are not the base's."""
    before, after = adapted.config.to_dict(), merged.config.to_dict()
    for key in sorted(before.keys() | after.keys()):
        if key not in NO_INFLUENCE and not key.startswith("_") and before.get(key) != after.get(key):
            yield f"its config.json has {key}={after.get(key)}, the base's {before.get(key)}"


def wrong_weights(adapted: PreTrainedModel, merged: PreTrainedModel) -> list[str]:
    """The first matrix that is not base + adapter, what it is instead, and how many there are."""
    layers, wrong = dict(lora_layers(adapted)), []
    saved = dict(merged.named_parameters(remove_duplicate=False))
    for full_name, weight in progress.with_progress(list(adapted.named_parameters()), "tensors", "base + adapter"):
        name = parameter_name(full_name)
        layer = layers.get(layer_name(full_name)) if name.endswith(".weight") else None
        if "lora_" not in full_name and not holds_fold(weight, layer, saved[name]):
            wrong.append((name, weight, layer))
    if not wrong:
        return []
    name, weight, layer = wrong[0]
    count = f", the first of {len(wrong)} matrices," if len(wrong) > 1 else ""
    return [f"{name}{count} is not base + adapter: {describe_wrong(weight, layer, saved[name])}"]


def holds_fold(weight: Tensor, layer: LoraLayer | None, saved: Tensor) -> bool:
    """Whether a saved matrix is the base's, with the adapter of its layer folded in if there is one."""
    if layer is None:
        return torch.equal(weight, saved)
    return all(bool(right_rows(*rows).all()) for rows in folded_rows(weight, layer, saved))


def right_rows(before: Tensor, folded: Tensor, actual: Tensor) -> Tensor:
    """Which rows are what they should be, up to the rounding of fp32."""
    allowed = SHARE * (folded - before).norm(dim=1) + ROUNDING * before.norm(dim=1)
    return cast(Tensor, (actual - folded).norm(dim=1) <= allowed)


def folded_rows(weight: Tensor, layer: LoraLayer | None, saved: Tensor) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Rows of the base's matrix, the same with the adapter folded in, and what was saved, in float64."""
    parts = cast(Any, layer)
    flip = layer is not None and (bool(getattr(layer, "fan_in_fan_out", False)) or ADAPTER in parts.lora_embedding_A)
    before, actual = (each.T if flip else torch.atleast_2d(each) for each in (weight, saved))
    size = max(1, CHUNK // before.shape[1])
    for start in range(0, len(before), size):
        rows = slice(start, start + size)
        folded = base = before[rows].double()
        if layer is not None:
            left, right = lora_factors(layer)
            folded = base + parts.scaling[ADAPTER] * (left[rows].double() @ right.double())
        if layer is not None and ADAPTER in parts.lora_magnitude_vector:
            magnitude = parts.lora_magnitude_vector[ADAPTER].weight.flatten()[rows].double()
            folded = folded * (magnitude / folded.norm(dim=1))[:, None]
        yield base, folded, actual[rows].double()


def lora_factors(layer: LoraLayer) -> tuple[Tensor, Tensor]:
    """The two matrices whose product is what an adapter adds to rows of outputs."""
    parts = cast(Any, layer)
    if ADAPTER in parts.lora_embedding_A:
        factors = parts.lora_embedding_B[ADAPTER], parts.lora_embedding_A[ADAPTER]
    else:
        factors = parts.lora_B[ADAPTER].weight, parts.lora_A[ADAPTER].weight
    return cast(tuple[Tensor, Tensor], factors)


def describe_wrong(weight: Tensor, layer: LoraLayer | None, saved: Tensor) -> str:
    """What a matrix is instead of what it should be, as far as that can be seen."""
    sums = dict.fromkeys(("base", "change", "moved", "both", "error"), 0.0)
    wrong, count, is_bf16 = 0, 0, True
    for before, folded, actual in folded_rows(weight, layer, saved):
        change, moved, error = folded - before, actual - before, actual - folded
        products = {"base": before * before, "change": change * change, "moved": moved * moved, "both": moved * change,
                    "error": error * error}  # fmt: skip
        sums = {name: sums[name] + float(product.sum()) for name, product in products.items()}
        count += len(before)
        wrong += int((~right_rows(before, folded, actual)).sum())
        is_bf16 &= torch.equal(actual, folded.bfloat16().double())
    if is_bf16:
        return "it is rounded to bf16"
    if sums["change"] == 0:
        return f"it differs from the base's by {math.sqrt(sums['error'] / sums['base']):.2g} of its length"
    share = sums["both"] / sums["change"]
    rest = sums["moved"] - share**2 * sums["change"]  # what is no multiple of the adapter
    if rest <= (SHARE**2 * sums["change"]) + ROUNDING**2 * sums["base"]:
        return "it is the base's alone" if abs(share) < SHARE else f"it holds the adapter {share:.4g} times"
    off = math.sqrt(sums["error"] / sums["change"])
    return f"{wrong} of its {count} rows are wrong, by {off:.2g} of what the adapter changes in all"


def lora_layers(adapted: PreTrainedModel) -> list[tuple[str, LoraLayer]]:
    """The layers that carry an adapter, by the names that the merged model has for them."""
    if not isinstance(adapted, PeftModel):
        return []
    named = adapted.get_base_model().named_modules()
    return [(name, layer) for name, layer in named if isinstance(layer, LoraLayer)]


def parameter_name(name: str) -> str:
    """The name that a parameter of a model with an adapter has in the merged one."""
    return name.removeprefix("base_model.model.").replace(".base_layer.", ".")


def layer_name(name: str) -> str:
    return parameter_name(name).rpartition(".")[0]
