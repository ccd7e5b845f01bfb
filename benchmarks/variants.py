"""What settings of a variant cost and keep: size, speed, seconds and memory of its export, divergence.

    python -m benchmarks.variants MERGED QUESTIONS [--graph optimum] [--template NAME]
        [--settings '{bits: 4, block: 32}' ...]

MERGED is a model folder as the merge stage leaves it, or a base and the name of a preset of conf/template; QUESTIONS a
JSONL file with a `question` a line. The fp32 variant answers the first of them, and each other variant is compared
with it at every token of those answers; outliers of activations are measured on the questions behind them. Each export
runs in a process of its own, whose largest resident memory (VmHWM) is told.
"""

import argparse
import json
import multiprocessing
import shutil
import tempfile
import time
from pathlib import Path
from typing import cast

import numpy as np
from omegaconf import OmegaConf

from benchmarks.harness import templated_base
from refrain.chat import encoding
from refrain.evaluation import divergence
from refrain.exporters.onnx import exporter, fallbacks, smoothing
from refrain.exporters.onnx.builder import NO_CALIBRATION, Calibration
from refrain.pipeline.export_schema import QuantizationConfig
from refrain.runtime import language_model, onnx_folder
from refrain.runtime.loading import load_model

OPSET = 18
SPOKEN = 32  # tokens by which speed is measured
MEASURED = 32  # questions, with which sizes of activations are measured
DEFAULT = [
    "{bits: 8, activations: token, head_bits: 8}",
    "{bits: 8, block: 32, activations: token, head_bits: 8}",
    "{bits: 8, block: 32, head_bits: 8}",
    "{bits: 4, block: 32, head_bits: 8, rounding: search}",
    "{bits: 4, block: 32, head_bits: 4, rounding: search}",
    "{bits: 4, block: 32, head_bits: 4, symmetric: false, rounding: search}",
]


def main() -> None:
    options = arguments()
    folder = Path(tempfile.mkdtemp(dir=options.scratch))
    try:
        compare(options, folder)
    finally:
        shutil.rmtree(folder)


def compare(options: argparse.Namespace, folder: Path) -> None:
    """One line for fp32 and one for each setting, as they come."""
    merged, template = options.merged.resolve(), options.template
    merged = templated_base.add_template(merged, template, folder / "merged") if template else merged
    kind, fp32 = exporter.choose_graph(merged, options.graph), folder / "fp32"
    print("| settings | MB | tokens/s | seconds | peak MB | KL, nats | top-1 |\n|---|---:|---:|---:|---:|---:|---:|")
    cost = export(merged, fp32, QuantizationConfig(bits=32), kind, NO_CALIBRATION)
    questions = encode_questions(merged, options.questions)
    prompts, others = questions[: options.prompts], questions[options.prompts :][:MEASURED]
    replies = answers(fp32, prompts, options.tokens)
    tell(fp32, f"fp32, {kind}", cost, speed(fp32, prompts[0]))
    sequences = [[*prompt, *reply[:-1]] for prompt, reply in zip(prompts, replies, strict=True)]
    model = load_model(fp32)
    expected = [divergence.sequence_logits(model, ids, options.tokens) for ids in sequences]
    measured = Calibration(activation_sizes=smoothing.measure_sizes(fp32, others))
    for text in options.settings:
        weights = cast(
            QuantizationConfig, OmegaConf.to_object(OmegaConf.merge(QuantizationConfig, OmegaConf.create(text)))
        )
        cost = export(merged, folder / "small", weights, kind, measured if weights.activations else NO_CALIBRATION)
        stats, model = divergence.DivergenceStats(), load_model(folder / "small")
        for ids, logits in zip(sequences, expected, strict=True):
            stats.add("whole", logits, divergence.sequence_logits(model, ids, options.tokens))
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


def export(
    merged: Path, out: Path, weights: QuantizationConfig, kind: str, calibration: Calibration
) -> tuple[float, float]:
    """Seconds and peak MB of an export in a process of its own."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(export_here, (merged, out, weights, kind, calibration))


def export_here(
    merged: Path, out: Path, weights: QuantizationConfig, kind: str, calibration: Calibration
) -> tuple[float, float]:
    start = time.monotonic()
    exporter.export_variant(merged, out, weights, kind, OPSET, calibration)
    lines = Path("/proc/self/status").read_text().splitlines()
    peak = next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))
    return time.monotonic() - start, peak / 1000


def encode_questions(merged: Path, questions: Path) -> list[list[int]]:
    """The prompt of each."""
    tokenizer = encoding.load_tokenizer(merged)
    asked = [json.loads(line)["question"] for line in questions.read_text(encoding="utf-8").splitlines()]
    return [encoding.encode_prompt(tokenizer, [{"role": "user", "content": question}]) for question in asked]


def answers(fp32: Path, prompts: list[list[int]], tokens: int) -> list[list[int]]:
    """What fp32 says to each."""
    model = load_model(fp32)
    return [language_model.greedy_decode(model, [each], tokens, frozenset())[0] for each in prompts]


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
