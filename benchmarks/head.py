"""Where a training step of a model with a large vocabulary goes, and what it costs to compute logits that nobody reads.

    python -m benchmarks.head [--vocabulary N] [--tokens N] [--labelled SHARE] [--rounds N]

A Gemma 3 of 270 M random weights with LoRA learns from one packed pass, by turns in three ways: logits where a label
follows (ours), logits everywhere (what a loss from labels does), and no head at all, for what the layers alone take.
"""

import argparse
import time
from collections.abc import Callable
from statistics import median
from typing import Any

import torch

from benchmarks.harness import tables


def main() -> None:
    options = arguments()
    torch.manual_seed(0)
    model, inputs, labels = build_model(options.vocabulary), *build_pass(options)
    ways = {"labelled tokens": labelled_logits_loss, "every token": every, "layers alone": layers_alone}
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for name, way in [*ways.items()] * (options.rounds + 1):
        seconds[name].append(time_step(lambda way=way: way(model, inputs, labels)))
    title = f"{options.tokens} tokens, {options.labelled:.0%} labelled, a vocabulary of {options.vocabulary:,}"
    print(f"{title}, {torch.get_num_threads()} threads\n\n{tables.to_markdown(table(seconds, options.tokens))}")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--vocabulary", type=int, default=262_144)
    parser.add_argument("--tokens", type=int, default=512)
    parser.add_argument("--labelled", type=float, default=0.5)
    parser.add_argument("--rounds", type=int, default=3)
    return parser.parse_args()


def build_model(vocabulary: int) -> Any:
    """The shape of Gemma 3 270M with an adapter of rank 16, its table and head tied and frozen."""
    from peft import LoraConfig, get_peft_model
    from transformers import Gemma3ForCausalLM, Gemma3TextConfig

    shape = Gemma3TextConfig(
        vocab_size=vocabulary,
        hidden_size=640,
        intermediate_size=2048,
        num_hidden_layers=18,
        num_attention_heads=4,
        num_key_value_heads=1,
        head_dim=256,
        sliding_window=512,
    )
    settings = LoraConfig(r=16, lora_alpha=32, target_modules="all-linear", task_type="CAUSAL_LM")
    return get_peft_model(Gemma3ForCausalLM(shape), settings)


def build_pass(options: argparse.Namespace) -> tuple[dict[str, Any], torch.Tensor]:
    """Ids of one row, and its labels: those of the last part, as of a prompt with its reply."""
    ids = torch.randint(options.vocabulary, (1, options.tokens))
    labels = ids.clone()
    labels[:, : round(options.tokens * (1 - options.labelled))] = -100
    return {"input_ids": ids, "use_cache": False}, labels


def labelled_logits_loss(model: Any, inputs: dict[str, Any], labels: torch.Tensor) -> torch.Tensor:
    """As `training.objectives.logprobs` asks."""
    columns = (labels[0, 1:] >= 0).nonzero()[:, 0]
    logits = model(**inputs, logits_to_keep=columns).logits[0]
    return torch.nn.functional.cross_entropy(logits, labels[0, columns + 1])


def every(model: Any, inputs: dict[str, Any], labels: torch.Tensor) -> torch.Tensor:
    """As a model that is given labels."""
    return torch.as_tensor(model(**inputs, labels=labels).loss)


def layers_alone(model: Any, inputs: dict[str, Any], labels: torch.Tensor) -> torch.Tensor:
    return torch.as_tensor(model.get_base_model().model(**inputs).last_hidden_state.square().mean())


def time_step(loss: Callable[[], torch.Tensor]) -> float:
    """Seconds of a forward and a backward pass."""
    begin = time.perf_counter()
    loss().backward()  # type: ignore[no-untyped-call]
    return time.perf_counter() - begin


def table(seconds: dict[str, list[float]], tokens: int) -> list[list[str]]:
    """A line for each way; the first round of each warms up, and does not count."""
    base = seconds["every token"][1:]
    rows = [["logits of", "seconds", "tokens/s", "times as fast as with all"]]
    for name, times in seconds.items():
        gain = median(whole / part for whole, part in zip(base, times[1:], strict=True))
        rows.append([name, f"{median(times[1:]):.2f}", f"{tokens / median(times[1:]):.0f}", f"{gain:.2f}"])
    return rows


if __name__ == "__main__":
    main()
