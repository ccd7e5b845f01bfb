"""Whether rows of high influence are those that taught an answer: without them, is it unlearned?

    python -m benchmarks.influence WORKSPACE [--rows N] [--questions N] [--top K] [--trainings N] [--random N]

WORKSPACE is a repository whose default pipeline has run. A model learns some of its training rows; of held-out
questions the K rows of most influence, of most words in common, or K at random are left out, all questions at once, and
the model is trained anew, with several seeds, each compared with a training on all rows with the same seed. The more
the loss of the right answers rises (nats a token), the better were the rows found; behind it is its standard error.
"""

import argparse
import os
import random
import sys
import tempfile
import time
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.harness import tables
from refrain.chat import encoding, model_folder, records
from refrain.chat.records import Row
from refrain.models.influence import learned_rows, ranking
from refrain.models.influence.learned_rows import LearnedRows
from refrain.models.influence.origin import Origin
from refrain.models.pytorch import loading
from refrain.pipeline import paths
from refrain.pipeline.params import compose_with_hydra, to_config
from refrain.serving.lineage.training_search import TrainingSearch
from refrain.training import fit
from refrain.training.objectives import logprobs, sft

CONF = Path(__file__).parents[1] / "conf"
Choice = dict[str, list[str]]  # the ids of the rows to leave out, by question


def main() -> None:
    options = arguments()
    cfg = to_config(compose_with_hydra("config", CONF, [f"train.epochs={options.epochs}"]))
    workspace = options.workspace.resolve()
    base, prepared = workspace / paths.BASE, workspace / paths.PREPARED
    rows = records.read_rows(prepared / "train.jsonl")[: options.rows]
    answers = {row["messages"][-1]["content"] for row in rows}
    held_out = [row for row in records.read_rows(prepared / "test.jsonl") if row["messages"][-1]["content"] in answers]
    questions = random.Random(0).sample(held_out, min(options.questions, len(held_out)))
    with tempfile.TemporaryDirectory() as scratch:
        os.chdir(scratch)
        whole = learn(base, rows, cfg, cfg.seed)
        choices = choose_all(whole, questions, options.top, options.random)
        seeds = range(cfg.seed, cfg.seed + options.trainings)
        before = [losses(whole if seed == cfg.seed else learn(base, rows, cfg, seed), questions) for seed in seeds]
        loss = mean(map(mean, before))
        print(f"{len(rows)} rows, {len(questions)} questions, {len(seeds)} trainings, loss {loss:.4f}\n", flush=True)
        lines = [["rows left out", "rows", "rise of the loss", "questions that rose"]]
        for name, choice in choices.items():
            dropped = {row for ids in choice.values() for row in ids}
            left = [row for row in rows if row["id"] not in dropped]
            after = [losses(learn(base, left, cfg, seed), questions) for seed in seeds]
            lines.append([name, str(len(dropped)), *tell_rise(np.array(after) - np.array(before))])
            print(tables.align([lines[0], lines[-1]]), file=sys.stderr, flush=True)
    print(tables.to_markdown(lines))


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("workspace", type=Path)
    for name, value in (("rows", 600), ("questions", 16), ("top", 4), ("epochs", 6), ("trainings", 3),
                        ("random", 2)):  # fmt: skip
        parser.add_argument(f"--{name}", type=int, default=value, metavar="N")
    return parser.parse_args()


def learn(base: Path, rows: list[Row], cfg: Any, seed: int) -> LearnedRows:
    """A model that was trained on the rows, as the train stage does it, and is ready to be traced."""
    start = time.perf_counter()
    out, prepared, talk = Path("adapter"), Path("prepared"), encoding.load_tokenizer(base, cfg.template.jinja)
    encoded, _ = sft.encode_rows(talk, rows)
    model = loading.build_trainable(base, cfg.method, seed)
    with tempfile.TemporaryDirectory() as folder:
        fit.train_model(model, encoded, [], sft, cfg.train, seed, Path(folder))
    paths.make_empty(out)
    paths.make_empty(prepared)
    loading.save_pretrained(model, out)
    model_folder.copy_tokenizer(base, out, talk.template)
    records.write_rows(prepared / "train.jsonl", rows)
    for name in ("val", "test"):
        records.write_rows(prepared / f"{name}.jsonl", [])
    print(f"  trained on {len(rows)} rows in {time.perf_counter() - start:.0f} s", file=sys.stderr, flush=True)
    return learned_rows.read_learned_rows(Origin(base, out, prepared, {}, None))


def tell_rise(rises: NDArray[np.float64]) -> list[str]:
    """Of rises [trainings, questions] the mean with its standard error over trainings, and the questions that rose."""
    means = rises.mean(axis=1)
    error = means.std(ddof=1) / len(means) ** 0.5 if len(means) > 1 else float("nan")
    return [f"{means.mean():+.4f} ± {error:.4f}", f"{(rises.mean(axis=0) > 0).sum()} of {rises.shape[1]}"]


def losses(learned: LearnedRows, questions: list[Row]) -> list[float]:
    """Of the right answers, in nats a token."""
    encoded = [encode(learned, row) for row in questions]
    with torch.no_grad():
        sums = [float(logprobs.sequence_logprobs(learned.traced.model, [each], packed=False)[0]) for each in encoded]
    return [-value / logprobs.count_labels(each) for value, each in zip(sums, encoded, strict=True)]


def encode(learned: LearnedRows, row: Row) -> encoding.Features:
    prompt_ids = encoding.encode_last_prompt(learned.tokenizer, row)
    return learned_rows.encode_answer(learned.tokenizer, prompt_ids, row["messages"][-1]["content"])


def choose_all(learned: LearnedRows, questions: list[Row], top: int, draws: int) -> dict[str, Choice]:
    """The rows to leave out for each question, by each way to find them."""
    search, rng, ids = TrainingSearch(Path("prepared")), random.Random(1), [row["id"] for row in learned.rows]
    names = ["influence (cosine)", "influence (dot)", "words", "influence, not words", "words, not influence"]
    chosen: dict[str, Choice] = {name: {} for name in names}
    start = time.perf_counter()
    for row in questions:
        found = ranking.rank(learned, encode(learned, row), "benchmark", len(ids), 1e9).rows
        by_dot = sorted(found, key=lambda one: -one.dot)
        question = row["messages"][-2]["content"]
        words = [each["id"] for each in search.search(question, top, None)["nearest"]]
        cosine = [one.row["id"] for one in found[:top]]
        lists = [cosine, [one.row["id"] for one in by_dot[:top]], words, without(cosine, words), without(words, cosine)]
        for name, values in zip(names, lists, strict=True):
            chosen[name][row["id"]] = values
    search.close()
    print(f"  {len(questions)} questions traced in {time.perf_counter() - start:.0f} s", file=sys.stderr, flush=True)
    others = {f"random {draw + 1}": {row["id"]: rng.sample(ids, top) for row in questions} for draw in range(draws)}
    return chosen | others


def without(values: list[str], others: list[str]) -> list[str]:
    return [value for value in values if value not in others]


if __name__ == "__main__":
    main()
