"""What settings of a variant cost and keep: size, speed, seconds and memory of its export, divergence.

    python -m benchmarks.variants MERGED QUESTIONS [--graph optimum] [--template NAME]
        [--settings '{bits: 4, block: 32}' ...]

MERGED is a model folder as the merge stage leaves it, or a base and the name of a preset of conf/template; QUESTIONS a
JSONL file with a `question` a line. The fp32 variant
answers the first of them, and each other variant is compared with it at every token of those answers. Each export runs
in a process of its own, whose largest resident memory (VmHWM) is told.
"""

import argparse
import json
import multiprocessing
import shutil
import tempfile
import time
from pathlib import Path

import numpy as np
from omegaconf import OmegaConf

from refrain.chat import encoding
from refrain.evaluation import divergence, parity
from refrain.exporters.onnx import exporter, fallbacks
from refrain.pipeline.export_schema import QuantizationConfig
from refrain.runtime import language_model, onnx_folder
from refrain.runtime.loading import load_model

OPSET = 18
SPOKEN = 32  # tokens by which speed is measured
DEFAULT = [
    "{bits: 8, block: 32, head_bits: 8}",
    "{bits: 4, block: 32, head_bits: 8, rounding: search}",
    "{bits: 4, block: 32, head_bits: 4, rounding: search}",
    "{bits: 4, block: 32, head_bits: 4, symmetric: false, rounding: search}",
]


def main() -> None:
    options = arguments()
    folder = Path(tempfile.mkdtemp(dir=options.scratch))
    kind = exporter.choose_graph(options.merged, options.graph)
    try:
        compare(options, folder, kind)
    finally:
        shutil.rmtree(folder)


def compare(options: argparse.Namespace, folder: Path, kind: str) -> None:
    """One line for fp32 and one for each setting, as they come."""
    print("| settings | MB | tokens/s | seconds | peak MB | KL, nats | top-1 |\n|---|---:|---:|---:|---:|---:|---:|")
    cost = export(options.merged, folder / "fp32", QuantizationConfig(bits=32), kind)
    prompts, replies = answers(options, folder / "fp32")
    tell(folder / "fp32", f"fp32, {kind}", cost, speed(folder / "fp32", prompts[0]))
    expected = [parity.reply_logits(load_model(folder / "fp32"), *pair) for pair in zip(prompts, replies, strict=True)]
    for text in options.settings:
        weights = OmegaConf.to_object(OmegaConf.merge(QuantizationConfig, OmegaConf.create(text)))
        cost = export(options.merged, folder / "small", weights, kind)
        stats, model = divergence.DivergenceStats(), load_model(folder / "small")
        for prompt, reply, logits in zip(prompts, replies, expected, strict=True):
            stats.add("whole", logits, parity.reply_logits(model, prompt, reply))
        del model
        quality = f"{stats.kl():.2e} | {stats.top1():.1%}"
        tell(folder / "small", fallbacks.describe(weights), cost, speed(folder / "small", prompts[0]), quality)
        shutil.rmtree(folder / "small")


def tell(folder: Path, name: str, cost: tuple[float, float], tokens: float, quality: str = "|") -> None:
    size = onnx_folder.model_bytes(folder) / 1e6
    print(f"| {name} | {size:.1f} | {tokens:.1f} | {cost[0]:.1f} | {cost[1]:.0f} | {quality} |", flush=True)


def speed(folder: Path, prompt: list[int]) -> float:
    """Tokens a second of greedy decoding after a prompt, the best of three turns."""
    slots = load_model(folder).allocate_slots(1)
    best = 0.0
    for _ in range(3):
        slots.crop(0, 0)
        token = slots.prefill(0, np.array(prompt))[-1].argmax()
        start = time.monotonic()
        for _ in range(SPOKEN):
            token = slots.decode(np.array([token]))[0].argmax()
        best = max(best, SPOKEN / (time.monotonic() - start))
    return best


def export(merged: Path, out: Path, weights: QuantizationConfig, kind: str) -> tuple[float, float]:
    """Seconds and peak MB of an export in a process of its own."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(export_here, (merged, out, weights, kind))


def export_here(merged: Path, out: Path, weights: QuantizationConfig, kind: str) -> tuple[float, float]:
    start = time.monotonic()
    exporter.export_variant(merged, out, weights, kind, OPSET)
    lines = Path("/proc/self/status").read_text().splitlines()
    peak = next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))
    return time.monotonic() - start, peak / 1000


def answers(options: argparse.Namespace, fp32: Path) -> tuple[list[list[int]], list[list[int]]]:
    """Prompts, and what fp32 says to each."""
    template = OmegaConf.load(f"conf/template/{options.template}.yaml").jinja if options.template else None
    tokenizer, model = encoding.load_tokenizer(options.merged, template), load_model(fp32)
    lines = options.questions.read_text(encoding="utf-8").splitlines()[: options.prompts]
    asked = [[{"role": "user", "content": json.loads(line)["question"]}] for line in lines]
    prompts = [encoding.encode_prompt(tokenizer, messages) for messages in asked]
    return prompts, [language_model.greedy_decode(model, [each], options.tokens, frozenset())[0] for each in prompts]


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("merged", type=Path)
    parser.add_argument("questions", type=Path)
    parser.add_argument("--settings", nargs="*", default=DEFAULT)
    parser.add_argument("--template", help="where the folder has no template of its own")
    parser.add_argument("--graph", choices=("compact", "optimum"))
    parser.add_argument("--prompts", type=int, default=24)
    parser.add_argument("--tokens", type=int, default=24)
    parser.add_argument("--scratch", type=Path, help="where the variants are written and removed again")
    return parser.parse_args()


if __name__ == "__main__":
    main()
