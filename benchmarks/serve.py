"""How our server does beside llama.cpp's and onnxruntime-genai in a plain loop, over HTTP, on the same random weights.

    python -m benchmarks.serve FOLDER [--shapes NAME ...] [--only NAME ...] [--clients N ...] [--rounds N]
                                      [--temperature T]

FOLDER keeps the weights and the models that were built of them. All contenders run at the same time, with as many
threads, and are asked in turns, in an order drawn anew: ratios are taken within a round. Questions are short, or
follow a system prompt of 512 tokens that the server has seen before. `x` compares with the contender of another library
that has as many bits, and is above 1 where ours is ahead. The plain loop takes part in the first round alone, with one
question of each client: who comes late waits for all before. benchmarks.batching measures the engine without HTTP.
"""

import argparse
import asyncio
import logging
import os
import re
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from benchmarks.harness import machine, model_shapes, serve_scores, served_contenders, served_shapes, tables
from benchmarks.harness.load import Load, Messages, run_load
from benchmarks.harness.rivals import CannotRunError
from benchmarks.harness.serve_scores import Result, Start, Turn
from benchmarks.harness.served_contenders import CONTENDERS, Conditions, Running, ServedContender
from benchmarks.harness.server_process import memory_mb, watch_memory

log = logging.getLogger(__name__)

CLIENTS = [1, 8, 32]
SYSTEM, QUESTION, NEW = 512, 24, 32  # tokens
QUESTIONS = {1: 4}  # of each client in a round, where it is not 2
KINDS = {"short": f"{QUESTION} tokens", "shared": f"{QUESTION} behind {SYSTEM} that all share"}
CONTEXT = 768
STARTS = 3
REST = 0.3  # seconds in which the threads of whoever ran before stop spinning


def main() -> None:
    options = arguments()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    for shape in options.shapes:
        print(asyncio.run(Contest(shape, options).run()), end="\n\n", flush=True)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--shapes", nargs="+", choices=list(served_shapes.SHAPES), default=["smollm2-135m"])
    names = [each.name for each in CONTENDERS]
    own_and_rivals = [name for name in names if not name.startswith("genai")]
    parser.add_argument("--only", nargs="+", choices=names, default=own_and_rivals, metavar="NAME")
    parser.add_argument("--clients", nargs="+", type=int, default=CLIENTS)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--temperature", type=float, default=0.0)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    return parser.parse_args()


class Contest:
    """All contenders on one shape."""

    def __init__(self, shape: str, options: argparse.Namespace) -> None:
        self._shape, self._options = shape, options
        self._source = served_shapes.make_source(shape, options.folder.resolve())
        self._built: dict[str, Path] = {}
        self._refusals: dict[str, str] = {}
        self._contenders = [each for each in CONTENDERS if each.name in options.only]
        self._contenders = [each for each in self._contenders if self._can_be_built(each)]
        slots = max(options.clients)
        self._conditions = Conditions(options.threads, slots, CONTEXT, options.temperature)
        self._rng = np.random.default_rng(model_shapes.SEED)
        self._results = {each.name: Result() for each in self._contenders}
        self._running: dict[str, Running] = {}
        self._system = served_shapes.draw_text(self._rng, SYSTEM)

    def _can_be_built(self, each: ServedContender) -> bool:
        """Whether there is something to open; the others go on without it, and the page says why."""
        try:
            self._built[each.name] = served_contenders.build(each, self._source)
        except CannotRunError as why:
            self._refusals[each.name] = re.sub(r"/\S*/", "", str(why))  # this machine's folders are of no interest
        return each.name in self._built

    async def run(self) -> str:
        """Start, ask, and what came of it as a page."""
        try:
            for i in range(STARTS):
                for each in self._permute(self._contenders):
                    await self._start(each, is_last=i == STARTS - 1)
            for kind in KINDS:
                for each in self._contenders:  # what a server keeps of prompts, and memory that it takes once
                    await self._ask(each, kind, max(self._options.clients), 2)
                for i in range(self._options.rounds):
                    for clients in self._options.clients:
                        await self._run_round(kind, clients, i)
                print(self._page(tables.align, {kind: KINDS[kind]}), end="\n\n", file=sys.stderr, flush=True)
        finally:
            for running in self._running.values():
                running.close()
        return self._page(tables.to_markdown, KINDS)

    async def _start(self, each: ServedContender, is_last: bool) -> None:
        begin = time.perf_counter()
        running = each.start(self._source, self._built[each.name], self._conditions)
        self._running[each.name] = running
        load = await self._ask(each, "short", 1, 2)
        start = Start(running.ready_s, load.replies[0].times[0] - begin)
        self._results[each.name].starts.append(start)
        self._results[each.name].rest = memory_mb(running.pid)
        log.info("%s: %s: ready in %.2f s, first token after %.2f", self._shape, each.name, start.ready,
                 start.first_token)  # fmt: skip
        if not is_last:
            self._running.pop(each.name).close()

    async def _run_round(self, kind: str, clients: int, number: int) -> None:
        seed = int(self._rng.integers(1 << 32))
        for each in self._permute([each for each in self._contenders if number == 0 or not each.is_alone]):
            running, result = self._running[each.name], self._results[each.name]
            await asyncio.sleep(REST)
            then, pids = machine.cores_time(), (running.pid, os.getpid())
            before = [machine.process_time(pid) for pid in pids]
            watch = asyncio.create_task(watch_memory(running.pid, result.peak))
            load = await self._ask(each, kind, clients, NEW, seed)
            watch.cancel()
            used = [machine.process_time(pid) - ticks for pid, ticks in zip(pids, before, strict=True)]
            turn = Turn.of(load, machine.others_share(then, sum(used)), machine.share(then, used[1]))
            result.turns.setdefault((kind, clients), []).append(turn)
            log.info("%s, %s, %d clients, round %d: %s", self._shape, kind, clients, number + 1, turn.tell(each.name))

    async def _ask(self, each: ServedContender, kind: str, clients: int, new: int, seed: int = 0) -> Load:
        """Clients with questions of their own."""
        rng = np.random.default_rng(seed)
        count = 1 if each.is_alone or new != NEW else QUESTIONS.get(clients, 2)
        questions = [[self._question(kind, rng) for _ in range(count)] for _ in range(clients)]
        asks = self._running[each.name].open_clients(clients)
        try:
            return await run_load(asks, questions, new)
        finally:
            self._running[each.name].close_clients()

    def _question(self, kind: str, rng: np.random.Generator) -> Messages:
        messages: Messages = [{"role": "user", "content": served_shapes.draw_text(rng, QUESTION)}]
        return messages if kind == "short" else [{"role": "system", "content": self._system}, *messages]

    def _permute(self, contenders: list[ServedContender]) -> list[ServedContender]:
        return [contenders[i] for i in self._rng.permutation(len(contenders))]

    def _page(self, layout: Callable[[tables.Rows], str], kinds: dict[str, str]) -> str:
        turns = [turn for result in self._results.values() for found in result.turns.values() for turn in found]
        others = [turn.others for turn in turns]
        parts = [f"{self._shape}: {self._options.threads} threads, {self._options.rounds} rounds, "
                 f"replies of {NEW} tokens at temperature {self._options.temperature:g}; other processes used "
                 f"{100 * float(np.median(others)):.0f} % of the cores, {100 * max(others):.0f} at most"]  # fmt: skip
        parts += [f"{name} cannot run: {why}" for name, why in self._refusals.items()]
        rows = serve_scores.load_rows(self._contenders, self._results, kinds)
        parts += [layout(rows), serve_scores.sum_up(rows)]
        parts.append(layout(serve_scores.start_rows(self._contenders, self._results)))
        return "\n\n".join(parts)


if __name__ == "__main__":
    main()
