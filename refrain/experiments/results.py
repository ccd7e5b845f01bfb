"""The outcome of a run for the terminal: metrics, the chain of proof, and some replies side by side."""

import json
from pathlib import Path
from typing import Any

from refrain.experiments.text_tables import number_table

PARITY_COLUMNS = ("whole", "cached", "batched", "chunked", "mean", "kl", "top1", "greedy", "rouge", "perplexity")


COLUMNS = ("exact_match", "token_f1", "bleu", "rouge1", "rouge2", "rougeL", "perplexity", "rows")


def results_report(metrics: Path, parity: Path, predictions: Path, count: int) -> str:
    """The tables of metrics and parity, and `count` test questions with all replies; ValueError if there are none."""
    if not (metrics.is_file() and parity.is_file() and predictions.is_dir()):
        raise ValueError(f"{metrics}: there are no results yet; make them with `dvc repro`")
    scores, proofs = (json.loads(path.read_text(encoding="utf-8")) for path in (metrics, parity))
    return f"{table(scores)}\n\n{parity_table(proofs)}\n\n{samples(predictions, count)}"


def table(results: dict[str, dict[str, float]]) -> str:
    """One aligned line a model."""
    rows = [[name, *(number(column, result[column]) for column in COLUMNS)] for name, result in results.items()]
    return number_table([["model", *COLUMNS], *rows])


def parity_table(proofs: dict[str, Any]) -> str:
    """One aligned line for each link from the adapter to the smallest variant, and why those left out are left out."""
    links = {name: proof for name, proof in proofs.items() if isinstance(proof, dict)}
    order = sorted(links, key=lambda name: (name != "merged", name != "fp32", name))
    rows = [
        [
            name,
            links[name]["reference"],
            *(f"{links[name][kind]:g}" if kind in links[name] else "" for kind in PARITY_COLUMNS),
        ]
        for name in order
    ]
    title = f"{proofs['prompts']} prompts, {proofs['steps']} tokens after each; largest difference of a logit by way"
    why = [f"{name} is left out: {sentence}" for name in order for sentence in links[name].get("fails", [])]
    return "\n".join([title, number_table([["link", "like", *PARITY_COLUMNS], *rows]), *why])


def number(column: str, value: float) -> str:
    if column == "rows":
        return str(int(value))
    return f"{value:.1f}" if column in ("bleu", "perplexity") else f"{value:.3f}"


def samples(folder: Path, count: int) -> str:
    """Questions with the reference and what each model said."""
    said = {file.stem: read(file) for file in sorted(folder.glob("*.jsonl"))}
    rows = next(iter(said.values()))
    chosen = sorted({i * len(rows) // count for i in range(count)}) if rows else []
    return "\n\n".join(sample(said, i) for i in chosen)


def sample(said: dict[str, list[dict[str, Any]]], i: int) -> str:
    first = next(iter(said.values()))[i]
    shown = {"question": first["question"], "reference": first["reference"]}
    shown |= {name: rows[i]["prediction"] for name, rows in said.items()}
    width = max(map(len, shown))
    return "\n".join(f"{name.ljust(width)}  {' '.join(words.split())[:200]}" for name, words in shown.items())


def read(file: Path) -> list[dict[str, Any]]:
    with file.open("rb") as lines:
        return [json.loads(line) for line in lines]
