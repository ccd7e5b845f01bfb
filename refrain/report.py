"""The outcome of a run for the terminal: the metrics of every model, and some of their replies side by side."""

import json
from pathlib import Path
from typing import Any

COLUMNS = ("exact_match", "token_f1", "bleu", "rouge1", "rouge2", "rougeL", "perplexity", "rows")


def text(metrics: Path, predictions: Path, count: int) -> str:
    """The table of reports/metrics.json and `count` test questions with all replies; ValueError if there are none."""
    if not metrics.is_file() or not predictions.is_dir():
        raise ValueError(f"{metrics}: there are no results yet; make them with `dvc repro`")
    return f"{table(json.loads(metrics.read_text(encoding='utf-8')))}\n\n{samples(predictions, count)}"


def table(results: dict[str, dict[str, float]]) -> str:
    """One aligned line a model."""
    header = ["model", *COLUMNS]
    rows = [[name, *(number(column, result[column]) for column in COLUMNS)] for name, result in results.items()]
    widths = [max(len(row[i]) for row in [header, *rows]) for i in range(len(header))]
    return "\n".join(
        "  ".join([row[0].ljust(widths[0]), *(cell.rjust(w) for cell, w in zip(row[1:], widths[1:], strict=True))])
        for row in [header, *rows]
    )


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
