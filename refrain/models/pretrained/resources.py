"""How much memory, disk and arithmetic the stages take: estimates from the shape of a model, each by one formula.

Bytes and floating-point operations, for fp32 on a CPU. benchmarks/estimates.py holds them to measured runs.
"""

import logging
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING

from refrain.models.pretrained.facts import ModelFacts, read_facts
from refrain.pipeline import paths

if TYPE_CHECKING:  # what serves knows shapes without it
    from refrain.pipeline.export_schema import QuantizationConfig
    from refrain.pipeline.schema import AdapterConfig, MethodConfig, TrainConfig

log = logging.getLogger(__name__)

FP32 = 4
POSITIONS = 64  # of a text whose logits are in memory at once
TRAIN_LIBRARIES = 0.62e9  # bytes of Python, PyTorch, transformers and PEFT before a weight is loaded
MERGE_LIBRARIES = 0.55e9  # ... for a merge
PROOF_LIBRARIES = 0.75e9  # ... with ONNX Runtime
SERVE_LIBRARIES = 0.085e9  # ... of what serves
HEAP = 1.6  # what glibc's heap takes for each byte that activations ask of it, for it returns few
MAPPED = 2**25  # bytes beyond which glibc takes memory from the system, and returns it, apart from its heap
NF4 = 0.55  # bytes of a weight in 4 bits with its scales (arXiv:2305.14314)
ADAM = 4  # fp32 numbers kept for a weight that learns: itself, its gradient, two moments (arXiv:1412.6980)


@dataclass(frozen=True)
class Pass:
    """The largest forward pass of a training."""

    tokens: int
    longest: int  # tokens of the longest row
    labelled: float  # share of the tokens that are learned


def adapter_parameters(facts: ModelFacts, adapter: "AdapterConfig") -> int:
    """Two matrices of the rank beside each layer that carries them (arXiv:2106.09685), and with DoRA a size a row."""
    ends = adapter.layers
    layers = {name.removesuffix(".weight"): shape for name, shape in facts.linears.items()}
    chosen = [
        shape for name, shape in layers.items() if ends is None or f".{name}".endswith(tuple(f".{e}" for e in ends))
    ]
    return sum(adapter.rank * (rows + columns) + (rows if adapter.dora else 0) for rows, columns in chosen)


def trainable_parameters(facts: ModelFacts, method: "MethodConfig") -> int:
    """How many numbers learn."""
    return facts.parameters if method.adapter is None else adapter_parameters(facts, method.adapter)


def activation_floats(facts: ModelFacts, method: "MethodConfig", longest: int) -> int:
    """Numbers that a layer keeps of a token for the backward pass.

    The stream and its norm, twice; queries, repeated keys and values, what attention gives and a copy of it, and what
    norms of heads read; five of the feed-forward net; what adapters hand on. Dropout in attention keeps three squares.
    """
    kept = 4 * facts.width + 5 * facts.heads * facts.head_dim + 5 * facts.feed_forward
    kept += 2 * (facts.heads + facts.kv_heads) * facts.head_dim if facts.has_head_norms else 0
    if method.adapter is not None:
        kept += 7 * method.adapter.rank
    return kept + (3 * facts.heads * longest if facts.has_dropout else 0)


def train_memory(facts: ModelFacts, method: "MethodConfig", train: "TrainConfig", largest: Pass) -> float:
    """Peak of a training: weights, what learns, activations of the largest pass, its logits four times."""
    weights: float = FP32 * facts.parameters
    if method.adapter is None:
        weights = 0  # they learn, and ADAM counts them
    elif method.base_bits is not None:
        weights = NF4 * facts.matrices + FP32 * (facts.parameters - facts.matrices)
    learning = ADAM * FP32 * trainable_parameters(facts, method)
    layer = activation_floats(facts, method, largest.longest)
    depth = layer + facts.layers * facts.width if train.gradient_checkpointing else facts.layers * layer
    rows = 2 if method.preference is not None else 1  # a pair
    logits = FP32 * rows * largest.tokens * largest.labelled * facts.vocabulary
    activations = HEAP * FP32 * rows * largest.tokens * depth + 4 * (1.0 if logits > MAPPED else HEAP) * logits
    return TRAIN_LIBRARIES + weights + learning + activations


def checkpoint_bytes(trainable: int) -> int:
    """The old checkpoint and the new one, each with what learns and its two moments."""
    return 2 * 3 * FP32 * trainable


def logits_of_texts(facts: ModelFacts, texts: int) -> int:
    """Bytes of the logits of some positions of so many texts."""
    return texts * FP32 * POSITIONS * facts.vocabulary


def merge_memory(facts: ModelFacts) -> float:
    """Peak of a merge with its check: the base with its adapter, the merged model, and what both say."""
    return MERGE_LIBRARIES + 2 * FP32 * facts.parameters + logits_of_texts(facts, 4)


def proof_memory(facts: ModelFacts) -> float:
    """Peak of export_onnx and evaluate: the merged model and the fp32 variant.

    ONNX Runtime packs matrices for its products; where the table is the head too, it is there a second time.
    """
    packed = 0 if facts.lm_head else FP32 * facts.vocabulary * facts.width
    variant = FP32 * (facts.parameters + rotary_numbers(facts)) + packed
    return PROOF_LIBRARIES + FP32 * facts.parameters + variant + logits_of_texts(facts, 5)


def variant_bytes(facts: ModelFacts, weights: "QuantizationConfig") -> float:
    """The files of a variant: matrices and table in their bits, the rest in fp32, and tables of rotary positions."""
    head_bits = weights.head_bits or weights.bits
    in_bits = facts.matrices * bytes_per_weight(weights, weights.bits, facts.width)
    is_dynamic = weights.bits == 8 and weights.block is None and weights.activations is None
    tables = (facts.table + facts.lm_head) * (FP32 if is_dynamic else bytes_per_weight(weights, head_bits, facts.width))
    rest = facts.parameters - facts.matrices - facts.table - facts.lm_head
    return in_bits + tables + FP32 * (rest + rotary_numbers(facts))


def bytes_per_weight(weights: "QuantizationConfig", bits: int, width: int) -> float:
    """Its code, and its share of the fp32 scale and zero point of a block, or of a channel about as long as `width`."""
    block = weights.block if weights.activations is None else width
    if bits >= 16 or block is None:
        return bits / 8
    return bits / 8 + (FP32 + (0 if weights.symmetric else bits / 8)) / block


def rotary_numbers(facts: ModelFacts) -> int:
    """Cosines and sines of every position, twice where layers with a window turn at another pace."""
    return facts.context * facts.head_dim * (2 if facts.window and facts.model_type.startswith("gemma3") else 1)


def cache_bytes(facts: ModelFacts, weights: "QuantizationConfig", tokens: int) -> int:
    """Keys and values of so many tokens."""
    return 2 * weights.kv_bits // 8 * facts.layers * facts.kv_heads * facts.head_dim * tokens


def serve_memory(facts: ModelFacts, weights: "QuantizationConfig", tokens: int) -> float:
    """What serves one conversation of so many tokens."""
    return SERVE_LIBRARIES + variant_bytes(facts, weights) + cache_bytes(facts, weights, tokens)


def forward_flops(facts: ModelFacts, tokens: float, logits: float) -> float:
    """Operations of a forward pass: two for each weight and token (arXiv:2001.08361); the head runs for `logits`."""
    return 2 * (facts.matrices * tokens + facts.vocabulary * facts.width * logits)


def train_flops(facts: ModelFacts, method: "MethodConfig", train: "TrainConfig", tokens: float, labels: float) -> float:
    """Operations of a training on so many tokens: 6 N for each (arXiv:2001.08361), 4 N where the weights are frozen.

    A frozen matrix hands the gradient on and has none of its own; forward passes are made again with checkpointing.
    """
    times = (2 if method.adapter is not None else 3) + (1 if train.gradient_checkpointing else 0)
    beside = 0 if method.adapter is None else 6 * adapter_parameters(facts, method.adapter) * tokens
    return times * forward_flops(facts, tokens, labels) + beside


def warn_of_shortages(folder: Path) -> None:
    """A line in the log for what merge and proof of a base will need, whatever the method, and that is not free."""
    facts = read_facts(folder)
    whole = float(FP32 * facts.parameters)
    needs = {"merge": (merge_memory(facts), whole), "export_onnx": (proof_memory(facts), whole)}
    for sentence in find_shortages(needs, free_memory(), shutil.disk_usage(paths.workspace()).free):
        log.warning("%s; `refrain inspect` estimates every stage", sentence)


def free_memory() -> int | None:
    """Bytes that a process may take without swapping, as Linux estimates them; None elsewhere."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:")), None)


def find_shortages(needs: Mapping[str, tuple[float, float]], memory: int | None, disk: float) -> list[str]:
    """A sentence for the most that stages need of memory and of disk and that is not free."""
    result = []
    name, most = max(((name, need[0]) for name, need in needs.items()), key=itemgetter(1))
    if memory is not None and most > memory:
        result.append(f"{name} will need about {format_bytes(most)} of memory, {format_bytes(memory)} are free")
    if (total := sum(need[1] for need in needs.values())) > disk:
        result.append(f"the stages will write about {format_bytes(total)}, {format_bytes(disk)} are free on the disk")
    return result


def format_bytes(count: float) -> str:
    """A size with two digits that matter."""
    unit, name = (1e9, "GB") if count >= 999.5e6 else (1e6, "MB")
    return f"{count / unit:.{1 if count / unit < 99.95 else 0}f} {name}"
