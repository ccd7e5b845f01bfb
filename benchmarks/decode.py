"""How fast each contender speaks, on the same random weights, beside what memory would allow.

    python -m benchmarks.decode FOLDER [--shapes NAME ...] [--only NAME ...] [--rounds N]

FOLDER keeps the weights, the built models and the rivals' environments, so that a second run begins at once. All
contenders are open at the same time; in each round each runs once, in an order drawn anew, and ratios are taken within
a round: a machine that is slow for a while is slow for both. A turn in which other processes used the cores is tried
again, and the page says how much they used. They decode 8 and 32 rows too, all after the same prompt. A contender that
cannot run says why, the rest go on. --only takes names, and those of several: peers (the default), others, all.
"""

import argparse
import json
import logging
import os
import re
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np

from benchmarks.harness import contest, machine, model_shapes, scores, tables
from benchmarks.harness.contest import CONTENDERS, SETS, Child, Contender
from benchmarks.harness.machine import Memory
from benchmarks.harness.rivals import CannotRunError
from benchmarks.harness.scores import Result, Turn

log = logging.getLogger(__name__)

THREADS = len(os.sched_getaffinity(0))
PROMPT, LONG_PROMPT, NEW = 128, 512, 128
NEW_OF_ROWS = {8: 32, 32: 16}  # new tokens of each of so many rows that decode at once
WARM = 8  # new tokens that nobody measures
REST = 0.3  # seconds in which the threads of whoever ran before stop spinning
CALM, TRIES = 0.05, 3  # a turn is tried again when others used more than this share of the cores


def main() -> None:
    options = arguments()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    names = [name for only in options.only for name in SETS.get(only, [only])]
    contenders = [each for each in CONTENDERS if each.name in names]
    memory = Memory(THREADS)
    for shape in options.shapes:
        results = compare(shape, options.folder.resolve(), contenders, memory, options.rounds)
        title = f"{shape}: batch 1, {NEW} new tokens after {PROMPT}, greedy, {THREADS} threads, {options.rounds} rounds"
        print(scores.page(title, results, tables.to_markdown), end="\n\n", flush=True)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--shapes", nargs="+", choices=list(model_shapes.SHAPES), default=["smollm2-135m"])
    choices = [*SETS, *SETS["all"]]
    parser.add_argument("--only", nargs="+", choices=choices, default=["peers"], metavar="NAME")
    parser.add_argument("--rounds", type=int, default=5)
    return parser.parse_args()


def compare(
    shape: str, folder: Path, contenders: Sequence[Contender], memory: Memory, rounds: int
) -> dict[str, Result]:
    """What each contender did in every round, or why it could not."""
    source = model_shapes.make_source(shape, folder)
    vocabulary = json.loads((source / "config.json").read_text())["vocab_size"]
    rng = np.random.default_rng(model_shapes.SEED)
    results = {each.name: Result() for each in contenders}
    children: dict[str, Child] = {}
    for each in contenders:
        log.info("%s: %s", shape, each.name)
        with record_refusal(results[each.name]):
            children[each.name] = contest.start(each, source, folder, THREADS)
            children[each.name].ask(random_prompt(rng, vocabulary), WARM)
    for i in range(rounds):
        log.info("%s: round %d of %d", shape, i + 1, rounds)
        ids = random_prompt(rng, vocabulary)
        for name in rng.permutation(list(children)):
            if results[name].refusal is None:
                with record_refusal(results[name]):
                    results[name].turns.append(measure_turn(children[name], ids, memory))
    for child in children.values():
        child.close()
    return results


def measure_turn(child: Child, ids: list[int], memory: Memory) -> Turn:
    """One contender's part of a round; where others disturbed it, the calmest of some tries."""
    tries: list[Turn] = []
    while not tries or (tries[-1].others > CALM and len(tries) < TRIES):
        tries.append(measure_once(child, ids, memory))
    calmest = min(tries, key=lambda each: each.others)
    return replace(calmest, rows={count: measure_rows(child, ids, count, new) for count, new in NEW_OF_ROWS.items()})


def measure_rows(child: Child, ids: list[int], count: int, new: int) -> float:
    """Tokens a second of so many rows together; nan where the contender decodes one only."""
    try:
        answer = child.ask(ids[:PROMPT], new, count)
    except CannotRunError:
        return float("nan")
    return count * (new - 1) / float(answer["decode_s"])


def measure_once(child: Child, ids: list[int], memory: Memory) -> Turn:
    """What a contender does, between two looks at what memory delivers."""
    time.sleep(REST)
    before = memory.bandwidth()
    child.ask(ids[-PROMPT:], WARM)  # another prompt, so that nothing is known but how to compute
    then, used = machine.cores_time(), machine.process_time(child.pid)
    answer = child.ask(ids[:PROMPT], NEW)
    others = machine.others_share(then, machine.process_time(child.pid) - used)
    bandwidth = (before + memory.bandwidth()) / 2
    long_answer = child.ask(ids, 1)
    return Turn(
        decode=(len(answer["tokens"]) - 1) / answer["decode_s"],
        prefill=PROMPT / answer["prefill_s"],
        long_prefill=LONG_PROMPT / long_answer["prefill_s"],
        bandwidth=bandwidth,
        others=others,
        bytes_per_token=child.bytes_per_token,
        tokens=answer["tokens"],
        peak_mb=long_answer["peak_mb"],
        start_s=child.start_s,
    )


def random_prompt(rng: np.random.Generator, vocabulary: int) -> list[int]:
    return [int(token) for token in rng.integers(vocabulary, size=LONG_PROMPT)]


@contextmanager
def record_refusal(result: Result) -> Iterator[None]:
    """A refusal ends what is under this, and stands in the contender's line."""
    try:
        yield
    except CannotRunError as why:
        result.refusal = re.sub(r"/\S*/", "", str(why))  # this machine's folders are of no interest elsewhere


if __name__ == "__main__":
    main()
