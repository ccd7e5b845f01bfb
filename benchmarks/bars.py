"""What the proof of a merge measures on right merges and on wrong ones, for models of several sizes.

    python -m benchmarks.bars KEEP [--base FOLDER ...]

A tiny and a deep model with random weights are made in KEEP; FOLDER is a real base. Each gets an adapter that learned
little. A right merge must pass both bars, that of logits and that of weights, and a wrong one must miss one of them. A
cell is the largest difference of a logit in standard deviations of its position's logits, and says which bar is missed
where it is not that of logits.
"""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from transformers import AutoModelForCausalLM, LlamaConfig, PreTrainedModel

from benchmarks.harness import tables
from refrain.evaluation import divergence
from refrain.evaluation.divergence import DivergenceStats
from refrain.models.pytorch import loading, merge_faults
from refrain.models.pytorch.language_model import TorchLanguageModel
from refrain.pipeline import params

ROOT = Path(__file__).parent.parent
LIMIT = params.to_config(params.compose_with_hydra("config", ROOT / "conf", [])).merge.relative_logits
LENGTHS = (8, 40, 600)  # tokens of the prompts; the longest sees beyond a window of 512
SHAPE = {"vocab_size": 512, "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 1024}
RANDOM = {
    "tiny": LlamaConfig(**SHAPE, hidden_size=64, intermediate_size=128, num_hidden_layers=2, initializer_range=0.1),
    "deep": LlamaConfig(**SHAPE, hidden_size=128, intermediate_size=384, num_hidden_layers=24, initializer_range=0.3),
}
Change = Callable[[PreTrainedModel, dict[str, torch.Tensor]], None]


def main() -> None:
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("keep", type=Path)
    parser.add_argument("--base", type=Path, nargs="*", default=[])
    options = parser.parse_args()
    bases = {name: random_base(options.keep, name) for name in RANDOM} | {
        each.resolve().name: each for each in options.base
    }
    found = {name: compare(folder, options.keep / f"{name}-merged") for name, folder in bases.items()}
    labels = [label for label in LABELS if any(label in cells for cells in found.values())]
    rows = [[label, *(cells.get(label, "") for cells in found.values())] for label in labels]
    print(tables.to_markdown([["merge", *found], *rows]))


def random_base(keep: Path, name: str) -> Path:
    """A folder with a model of random weights."""
    torch.manual_seed(0)
    AutoModelForCausalLM.from_config(RANDOM[name]).save_pretrained(keep / name)
    return keep / name


def compare(base: Path, out: Path) -> dict[str, str]:
    """A cell for what fp32 rounds, for the right merge and for each wrong one."""
    adapted = adapted_model(base)
    loading.save_for_serving(loading.merge_adapter(adapted_model(base)), frozenset({0}), out)
    rng = np.random.default_rng(0)
    prompts = [rng.integers(3, adapted.config.vocab_size, size=length).tolist() for length in LENGTHS]
    reference = TorchLanguageModel(adapted)
    rounding = divergence.measure_rounding(reference, prompts).whole
    expected = [divergence.sequence_logits(reference, ids, min(32, len(ids))) for ids in prompts]
    deltas = {f"{key}.weight": cast(Any, layer).get_delta_weight("default").detach()
              for key, layer in merge_faults.lora_layers(adapted)}  # fmt: skip
    spread = np.mean([logits.std(-1).mean() for logits in expected])
    largest = max(np.abs(logits).max() for logits in expected)
    allowed = LIMIT * divergence.rounding_slack(LIMIT, rounding)
    cells = dict(zip(LABELS, (f"{largest:.1f}, {spread:.1f}", f"{rounding:.1e}", f"{allowed:.1e}"), strict=False))
    for label, change in FAULTS.items():
        if label == "sliding window off by one" and not getattr(adapted.config, "sliding_window", None):
            continue
        merged = loading.load_pretrained(out)
        with torch.no_grad():
            change(merged, deltas)
        stats = DivergenceStats()
        for ids, logits in zip(prompts, expected, strict=True):
            stats.add("whole", logits, divergence.sequence_logits(TorchLanguageModel(merged), ids, len(logits)))
        faults = merge_faults.find_faults(adapted, merged, out)
        cells[label] = describe(stats.summary().whole, allowed, bool(faults), label == "right")
    return cells


def describe(found: float, allowed: float, is_stopped_by_weights: bool, is_right: bool) -> str:
    """The difference, and what is not as it is for most: a fault found by weights alone, or not at all."""
    if is_right:
        return f"{found:.1e}{' (STOPPED)' if found > allowed or is_stopped_by_weights else ''}"
    return f"{found:.1e}{'' if found > allowed else ' (by weights)' if is_stopped_by_weights else ' (NOT STOPPED)'}"


def adapted_model(base: Path) -> PreTrainedModel:
    """The base with the adapter of the default method, which differs from zero by little."""
    method = params.to_config(params.compose_with_hydra("config", ROOT / "conf", [])).method
    model = loading.build_trainable(base, method, 7)
    torch.manual_seed(7)
    for name, weight in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight, std=1e-3)
    return model


def fold_adapter(times: float, part: str = "") -> Change:
    """The adapter so many times, in all matrices or those with a part of a name."""

    def change(merged: PreTrainedModel, deltas: dict[str, torch.Tensor]) -> None:
        for name, delta in deltas.items():
            if part in name:
                merged.get_parameter(name).add_(delta, alpha=times - 1)

    return change


def without_rows(part: str, count: int) -> Change:
    """The first rows of one matrix without the adapter."""

    def change(merged: PreTrainedModel, deltas: dict[str, torch.Tensor]) -> None:
        name = next(name for name in deltas if part in name)
        merged.get_parameter(name)[:count] -= deltas[name][:count]

    return change


def rounded(kind: torch.dtype) -> Change:
    """All weights in fewer bits."""

    def change(merged: PreTrainedModel, _: dict[str, torch.Tensor]) -> None:
        for weight in merged.parameters():
            weight.copy_(weight.to(kind).float())

    return change


def with_setting(key: str, change_value: Callable[[float], float]) -> Change:
    """Another value in config.json, and so in the layers that were built by it."""

    def change(merged: PreTrainedModel, _: dict[str, torch.Tensor]) -> None:
        old = getattr(merged.config, key, None)
        if old is None:
            return
        new = change_value(old)
        setattr(merged.config, key, new)
        for part in merged.modules():
            if key == "rms_norm_eps" and "RMSNorm" in type(part).__name__:
                setattr(part, "eps" if hasattr(part, "eps") else "variance_epsilon", new)
            elif key == "sliding_window" and getattr(part, key, None):
                setattr(part, key, new)
            elif key == "rope_theta" and hasattr(part, "inv_freq"):
                inverse = cast(torch.Tensor, part.inv_freq)
                part.inv_freq = inverse * (new / old) ** -(torch.arange(len(inverse)) / len(inverse))

    return change


FAULTS: dict[str, Change] = {
    "right": fold_adapter(1),
    "adapter not folded in": fold_adapter(0),
    "alpha 1 % too large": fold_adapter(1.01),
    "one layer's adapter dropped": fold_adapter(0, "layers.1."),
    "one matrix's adapter dropped": fold_adapter(0, "layers.1.mlp.down_proj"),
    "one head's adapter dropped": without_rows("layers.1.self_attn.q_proj", 16),
    "one row's adapter dropped": without_rows("layers.1.mlp.down_proj", 1),
    "weights rounded to bf16": rounded(torch.bfloat16),
    "weights rounded to fp16": rounded(torch.float16),
    "rope base 1 % too large": with_setting("rope_theta", lambda old: 1.01 * old),
    "eps ten times as large": with_setting("rms_norm_eps", lambda old: 10 * old),
    "sliding window off by one": with_setting("sliding_window", lambda old: int(old) + 1),
}
LABELS = ["largest logit, standard deviation", "what fp32 rounds", "allowed", *FAULTS]


if __name__ == "__main__":
    main()
