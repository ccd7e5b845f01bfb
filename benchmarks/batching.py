"""What many rows gain: tokens a second of 1, 8 and 32 replies at once, and how soon a known prompt is answered.

    python -m benchmarks.batching FOLDER [--shapes NAME ...] [--rounds N]

FOLDER is that of benchmarks.decode, which builds the variants. Each round answers the same requests with 1, 8 and 32
rows, in an order drawn anew, and compares every token: ratios are taken within a round.
"""

import argparse
import os
import sys
import time
from pathlib import Path
from statistics import median

import numpy as np
from tokenizers import Tokenizer

from benchmarks.contenders import refrain_model
from benchmarks.contenders.protocol import peak_mb
from benchmarks.harness import model_shapes, tables
from refrain.generation.engine import Engine, run
from refrain.generation.sampling import Sampler, SamplingParams
from refrain.generation.sequence import Sequence
from refrain.runtime import loading
from refrain.runtime.detokenizer import Detokenizer

ROWS = (1, 8, 32)
REQUESTS = 32
PROMPTS, REPLIES = (16, 64), (64, 128)  # tokens, from and below
SYSTEM, QUESTION = 512, 16
HEADER = ["shape", "variant", "1 row", *(f"{rows} rows" for rows in ROWS[1:]), *(f"x {rows}" for rows in ROWS[1:]),
          "same text", "first token, known prompt ms", "peak MB"]  # fmt: skip


def main() -> None:
    options = arguments()
    rows = [HEADER]
    for shape in options.shapes:
        source = model_shapes.make_source(shape, options.folder.resolve())
        for variant in options.variants:
            folder = source.parent / "refrain" / variant
            if not folder.is_dir():
                refrain_model.export_variant(source, folder, variant)
            rows.append([shape, variant, *measure_variant(folder, options.rounds)])
            print(tables.align([HEADER, rows[-1]]), file=sys.stderr, flush=True)
    print(tables.to_markdown(rows))


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--shapes", nargs="+", choices=list(model_shapes.SHAPES), default=["smollm2-135m"])
    parser.add_argument("--variants", nargs="+", default=["fp32", "int8", "int4"])
    parser.add_argument("--rounds", type=int, default=3)
    return parser.parse_args()


def measure_variant(folder: Path, rounds: int) -> list[str]:
    """The cells of a variant's line."""
    lm, tokenizer = (
        loading.load_model(folder, len(os.sched_getaffinity(0))),
        Tokenizer.from_file(str(folder / "tokenizer.json")),
    )
    rng = np.random.default_rng(model_shapes.SEED)
    requests = [(rng.integers(256, size=rng.integers(*PROMPTS)).tolist(), int(rng.integers(*REPLIES)))
             for _ in range(REQUESTS)]  # fmt: skip
    speeds: dict[int, list[float]] = {rows: [] for rows in ROWS}
    outputs: set[str] = set()
    for _ in range(rounds):
        for rows in rng.permutation(ROWS):
            sequences = [new_sequence(prompt, limit, tokenizer) for prompt, limit in requests]
            engine = Engine(lm, int(rows))
            begin = time.perf_counter()
            count = sum(len(each.ids) for each in run(engine, sequences))
            speeds[int(rows)].append(count / (time.perf_counter() - begin))
            outputs.add(str([each.ids for each in sequences]))
    single_row = speeds[ROWS[0]]
    gains = [median(many / single for many, single in zip(speeds[rows], single_row, strict=True)) for rows in ROWS[1:]]
    return [
        *(f"{median(speeds[rows]):.0f}" for rows in ROWS),
        *(f"{gain:.2f}" for gain in gains),
        "yes" if len(outputs) == 1 else "no",
        f"{1000 * first_token(lm, tokenizer, rng):.0f}",
        f"{peak_mb():.0f}",
    ]


def first_token(lm: loading.Session, tokenizer: Tokenizer, rng: np.random.Generator) -> float:
    """Seconds to the first token of a question behind a system prompt that was answered before."""
    engine, system = Engine(lm, 1), rng.integers(256, size=SYSTEM).tolist()
    times = []
    for _ in range(6):
        sequence = new_sequence([*system, *rng.integers(256, size=QUESTION).tolist()], 2, tokenizer)
        begin = time.perf_counter()
        engine.add(sequence)
        times.append(time.perf_counter() - begin)
        engine.remove(sequence)
    return median(times[1:])


def new_sequence(prompt: list[int], limit: int, tokenizer: Tokenizer) -> Sequence:
    return Sequence(prompt, limit, frozenset(), Detokenizer(tokenizer), Sampler(SamplingParams(), prompt))


if __name__ == "__main__":
    main()
