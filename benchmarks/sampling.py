"""What a token costs beside the model: sampling and log-probabilities, of a vocabulary of 49,152.

python -m benchmarks.sampling [--rounds N]
"""

import argparse
import time
from collections.abc import Callable
from functools import partial
from statistics import median

import numpy as np

from benchmarks.harness import tables
from refrain.generation.sampling import Sampler, SamplingParams, token_logprobs

VOCABULARY, LIKELY = 49152, 30  # some ids stand out, as in a model that knows
PARAMS = {
    "temperature 0": SamplingParams(),
    "temperature 1": SamplingParams(temperature=1.0, seed=1),
    "temperature 0.7, top_p 0.9": SamplingParams(temperature=0.7, top_p=0.9, seed=1),
    "temperature 0.7, top_k 50": SamplingParams(temperature=0.7, top_k=50, seed=1),
    "temperature 0.7, min_p 0.05": SamplingParams(temperature=0.7, min_p=0.05, seed=1),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--rounds", type=int, default=500)
    rounds = parser.parse_args().rounds
    logits = (np.random.default_rng(0).standard_normal(VOCABULARY) * 2.5).astype(np.float32)
    logits[:LIKELY] += 8
    samplers = {name: Sampler(params, [1, 2, 3]) for name, params in PARAMS.items()}
    times = {name: measure(partial(one.sample, logits), rounds) for name, one in samplers.items()}
    times["5 log-probabilities"] = measure(lambda: token_logprobs(logits, 3, 5), rounds)
    print(tables.to_markdown([["", *times], ["microseconds", *times.values()]]))


def measure(call: Callable[[], object], rounds: int) -> str:
    """The median time of a call."""
    call()
    seconds = []
    for _ in range(rounds):
        begin = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - begin)
    return f"{1e6 * median(seconds):.0f}"


if __name__ == "__main__":
    main()
