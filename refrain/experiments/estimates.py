"""What each stage will take on this machine: memory, disk and minutes, for a model, a configuration and its data."""

from dataclasses import dataclass
from math import ceil, sqrt
from pathlib import Path
from statistics import mean, pstdev
from typing import TYPE_CHECKING

from refrain.chat import encoding, records
from refrain.chat.encoding import IGNORE_INDEX, ChatTokenizer
from refrain.experiments.machine import Machine
from refrain.models.pretrained import resources
from refrain.models.pretrained.facts import ModelFacts
from refrain.pipeline.plurals import format_count

if TYPE_CHECKING:  # what serves knows shapes without it
    from refrain.pipeline.schema import Config

SERVED = 1024  # tokens of a conversation that is served
SAMPLE = 200  # rows whose tokens are counted; the others are taken to be like them
SPREAD = 4  # standard deviations that the largest step of a training is beyond the mean one
TRAINS = 0.8  # share of the rate of a plain product that a training reaches
READS = {"pytorch": 0.35, "onnx": 0.9}  # share of one core's bandwidth that decoding reaches


@dataclass(frozen=True)
class Workload:
    """Rows and tokens of one epoch."""

    source: str
    rows: int
    tokens: float  # of a row, on average
    deviation: float  # ... by which rows are longer or shorter
    longest: int
    labelled: float  # share of the tokens
    held_out: int
    test: int


@dataclass(frozen=True)
class StageNeeds:
    """Bytes and seconds; None where there is nothing to say."""

    memory: float | None
    disk: float | None
    seconds: float | None


def assume_workload(max_tokens: int) -> Workload:
    """A thousand rows as long as they may be, all of it learned."""
    return Workload(f"per 1,000 rows of {max_tokens:,} tokens", 1000, max_tokens, 0.0, max_tokens, 1.0, 100, 100)


def read_workload(folder: Path, tokenizer: ChatTokenizer) -> Workload:
    """The rows of data/prepared in the tokens of this model."""
    counts = {name: count_lines(folder / f"{name}.jsonl") for name in ("train", "val", "test")}
    rows = records.read_rows(folder / "train.jsonl")[:: max(1, counts["train"] // SAMPLE)]
    encoded = [encoding.encode_conversation(tokenizer, row["messages"], row.get("tools")) for row in rows]
    lengths = [len(row["input_ids"]) for row in encoded]
    labels = sum(label != IGNORE_INDEX for row in encoded for label in row["labels"])
    return Workload(
        source=f"{format_count(counts['train'], 'row')} of {mean(lengths):.0f} tokens in {folder}",
        rows=counts["train"],
        tokens=mean(lengths),
        deviation=pstdev(lengths),
        longest=max(lengths),
        labelled=labels / sum(lengths),
        held_out=counts["val"],
        test=counts["test"] or counts["val"],
    )


def count_lines(path: Path) -> int:
    if not path.is_file():
        return 0
    with path.open("rb") as file:
        return sum(1 for _ in file)


def estimate_stages(facts: ModelFacts, cfg: "Config", load: Workload, machine: Machine) -> dict[str, StageNeeds]:
    """Each stage in its order, the variants that are served, and what DVC keeps."""
    learning = resources.trainable_parameters(facts, cfg.method)
    whole = resources.FP32 * facts.parameters
    tokens = min(facts.context or SERVED, SERVED)
    variants = {name: resources.variant_bytes(facts, variant.weights) for name, variant in cfg.export.variants.items()}
    exported = sum(variants.values()) + min(variants.values())  # the best is there twice
    trained = resources.FP32 * learning
    result = {
        "base": StageNeeds(None, facts.file_bytes, None),
        "train": StageNeeds(
            resources.train_memory(facts, cfg.method, cfg.train, largest_pass(cfg, load)),
            resources.checkpoint_bytes(learning) + trained,
            train_seconds(facts, cfg, load, machine),
        ),
        "merge": StageNeeds(resources.merge_memory(facts), whole, merge_seconds(facts, cfg, load, machine)),
        "export_onnx": StageNeeds(resources.proof_memory(facts), exported, proof_seconds(facts, cfg, load, machine)),
        "evaluate": StageNeeds(resources.proof_memory(facts), None, evaluate_seconds(facts, cfg, load, machine)),
    }
    for name, variant in cfg.export.variants.items():
        result[f"serve {name}"] = StageNeeds(
            resources.serve_memory(facts, variant.weights, tokens), variants[name], None
        )
    result["DVC cache"] = StageNeeds(None, facts.file_bytes + trained + whole + sum(variants.values()), None)
    return result


def largest_pass(cfg: "Config", load: Workload) -> resources.Pass:
    """The tokens of a forward pass: as many as may be, unless a step, of rows that chance put together, has fewer."""
    rows = cfg.train.batch_size
    step = min(rows * load.longest, rows * load.tokens + SPREAD * load.deviation * sqrt(rows))
    tokens = max(load.longest, min(cfg.train.micro_batch_tokens, ceil(step)))
    return resources.Pass(tokens, load.longest, load.labelled)


def train_seconds(facts: ModelFacts, cfg: "Config", load: Workload, machine: Machine) -> float:
    """All epochs, and the validation loss before them and after each."""
    tokens = load.rows * load.tokens * cfg.train.epochs
    work = resources.train_flops(facts, cfg.method, cfg.train, tokens, tokens * load.labelled)
    held_out = load.held_out * load.tokens * (cfg.train.epochs + 1)
    work += resources.forward_flops(facts, held_out, held_out * load.labelled)
    return work / (TRAINS * machine.flops)


def merge_seconds(facts: ModelFacts, cfg: "Config", load: Workload, machine: Machine) -> float:
    """Prompts through two models, all logits of them."""
    tokens = 2 * min(cfg.merge.prompts, load.held_out or cfg.merge.prompts) * load.tokens
    return resources.forward_flops(facts, tokens, tokens) / (TRAINS * machine.flops)


def proof_seconds(facts: ModelFacts, cfg: "Config", load: Workload, machine: Machine) -> float:
    """What parity asks of the reference once, and of each variant: whole texts, and tokens in batches and alone."""
    from refrain.evaluation import parity  # with the metrics, which few people wait for

    export = cfg.export
    prompts = min(export.prompts, load.held_out or export.prompts)
    alone, steps = min(prompts, parity.ALONE), export.steps * prompts
    text = load.tokens + export.steps
    whole = resources.forward_flops(facts, prompts * text, steps) / (TRAINS * machine.flops)
    head = resources.forward_flops(facts, 0, steps) / (TRAINS * machine.flops)
    result = whole + decode_seconds(facts, 32, "pytorch", steps / export.batch_size, export.batch_size, machine)
    for variant in export.variants.values():
        bits = variant.weights.bits
        result += (2 + alone / prompts) * (whole + head)
        result += decode_seconds(facts, bits, "onnx", export.steps * alone, 1, machine)
        result += 2 * decode_seconds(facts, bits, "onnx", steps / export.batch_size, export.batch_size, machine)
    return result


def evaluate_seconds(facts: ModelFacts, cfg: "Config", load: Workload, machine: Machine) -> float:
    """Replies and perplexity of base, merged and each variant on the test rows."""
    rows = min(cfg.evaluate.max_rows, load.test)
    whole = resources.forward_flops(facts, 2 * rows * load.tokens, rows * load.tokens) / (TRAINS * machine.flops)
    batches = rows * cfg.evaluate.max_new_tokens / cfg.evaluate.batch_size
    kinds = [(32, "pytorch")] * 2 + [(variant.weights.bits, "onnx") for variant in cfg.export.variants.values()]
    return sum(
        whole + decode_seconds(facts, bits, kind, batches, cfg.evaluate.batch_size, machine) for bits, kind in kinds
    )


def decode_seconds(facts: ModelFacts, bits: int, kind: str, steps: float, rows: int, machine: Machine) -> float:
    """So many steps of so many rows: each reads all weights, or multiplies them, whichever takes longer."""
    weights = facts.matrices + facts.vocabulary * facts.width
    read = weights * bits / 8 / (READS[kind] * machine.bandwidth)
    multiply = resources.forward_flops(facts, rows, rows) / (TRAINS * machine.flops)
    return steps * max(read, multiply)
