"""The outcome of a run for the terminal: metrics, parity of every model, and some replies side by side."""

import importlib.util
import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from refrain.chat import records
from refrain.chat.control_characters import escape_controls
from refrain.evaluation.scores import INTERVALS, read_scores
from refrain.experiments.text_tables import number_table, text_table
from refrain.pipeline import paths
from refrain.pipeline.plurals import format_count

if TYPE_CHECKING:
    from refrain.evaluation.scoring import Prediction

PARITY_COLUMNS = ("whole", "cached", "batched", "chunked", "mean", "kl", "top1", "greedy", "lost")
GGUF_COLUMNS = ("whole", "mean", "kl", "top1", "texts")
DIGITS = {"bleu": 1, "perplexity": 2}
OUTCOMES = {  # what reports/parity.json lists of a variant
    "fails": "is left out",
    "missed_by_chance": "stays, though not as the best, for chance explains what it misses",
    "reached_by_chance": "reaches all thresholds, though other prompts might say otherwise",
}
COLUMNS = ("exact_match", "token_f1", "bleu", "rouge1", "rouge2", "rougeL", "perplexity", "rows")


def results_report(count: int) -> str:
    """Which run they are of, then the tables of metrics and parity, and `count` test questions with all replies.

    Tables of two runs are never on one page. ValueError if there are none.
    """
    require_results()
    if importlib.util.find_spec("omegaconf"):
        from refrain.experiments import report_runs

        runs = report_runs.compare_runs()
        lines, has_scores, has_proof, has_samples = runs.lines, runs.has_scores, runs.has_proof, runs.has_samples
        has_gguf = report_runs.has_gguf_proof()
    else:
        lines = ["run: unknown, for the extra train is not installed"]
        has_scores, has_proof, has_samples = (
            path.exists() for path in (paths.METRICS, paths.PARITY, paths.PREDICTIONS)
        )
        has_gguf = paths.GGUF_REPORT.exists()
    parts = ["\n".join(lines)]
    if has_scores:
        parts.append(metrics_table(json.loads(paths.METRICS.read_text(encoding="utf-8"))))
    if has_proof:
        parts.append(parity_table(json.loads(paths.PARITY.read_text(encoding="utf-8"))))
        if has_gguf and (report := json.loads(paths.GGUF_REPORT.read_text(encoding="utf-8"))):
            parts.append(gguf_table(report))
    if has_samples:
        parts.append(sample_predictions(paths.PREDICTIONS, count))
    return "\n\n".join(parts)


def require_results() -> None:
    """ValueError unless something was run here."""
    if not (paths.METRICS.is_file() or paths.PARITY.is_file()):
        raise ValueError(f"{paths.METRICS}: there are no results yet; make them with `dvc repro`")


def metrics_table(results: dict[str, dict[str, Any]]) -> str:
    """One aligned line a model, below what the scores are of, and another for what chance explains of them."""
    rows = [[name, *(format_number(column, result[column]) for column in COLUMNS)] for name, result in results.items()]
    bounds = [[name, *format_bounds(result)] for name, result in results.items() if INTERVALS in result]
    table = number_table([["model", *COLUMNS], *rows])
    intervals = f"\n{number_table([['95 % interval', *COLUMNS[:-1]], *bounds])}" if bounds else ""
    return f"scores over the rows in {paths.PREDICTIONS}\n{table}{intervals}"


def format_bounds(result: dict[str, Any]) -> Iterator[str]:
    """The interval of each score of a model; empty where it has none."""
    scores = read_scores(result)
    for column in COLUMNS[:-1]:
        bounds = [format_number(column, bound) for bound in scores[column][1:] if bound is not None]
        yield " to ".join(bounds)


def parity_table(report: dict[str, Any]) -> str:
    """One aligned line for each model from merged to the smallest variant, and why those left out are left out."""
    models = {name: parity for name, parity in report.items() if isinstance(parity, dict)}
    order = sorted(models, key=lambda name: (name != "merged", name != "fp32", name))
    rows = [
        [
            name,
            models[name]["reference"],
            *(f"{models[name][kind] + 0:g}" if kind in models[name] else "" for kind in PARITY_COLUMNS),
        ]
        for name in order
    ]
    title = (f"{format_count(report['prompts'], 'prompt')}, up to {format_count(report['steps'], 'token')} after each; "
             "largest difference of a logit by execution mode, in standard deviations;\n"
             "lost: points of ROUGE-L below the merged model, over the held-out rows of the proof")  # fmt: skip
    reasons = [
        f"{name} {outcome}: {sentence.removeprefix(f'{name}: ')}"
        for name in order
        for key, outcome in OUTCOMES.items()
        for sentence in models[name].get(key, [])
    ]
    intervals = [line for name in order if (line := describe_intervals(name, models[name]))]
    return "\n".join([title, number_table([["model", "reference", *PARITY_COLUMNS], *rows]), *intervals, *reasons])


def gguf_table(report: dict[str, Any]) -> str:
    """One aligned line for each GGUF file, and why those left out are left out."""
    files = report["types"]
    rows = [
        [kind, *(f"{file[name]:g}" if name in file else "" for name in GGUF_COLUMNS)] for kind, file in files.items()
    ]
    title = (f"GGUF in llama.cpp beside the merged model: {format_count(report['prompts'], 'prompt')}, "
             f"{format_count(report['texts'], 'text')}; the largest difference of a logit in standard "
             "deviations")  # fmt: skip
    reasons = [
        f"{kind} {outcome}: {sentence.removeprefix(f'{kind}: ')}"
        for kind, file in files.items()
        for key, outcome in OUTCOMES.items()
        for sentence in file.get(key, [])
    ]
    return "\n".join([title, number_table([["file", *GGUF_COLUMNS], *rows]), *reasons])


def describe_intervals(name: str, parity: dict[str, Any]) -> str:
    """The 95 % intervals of what was measured on few rows, and of how many; empty where none is known."""
    known = {kind: bounds for kind, bounds in parity.get("intervals", {}).items() if bounds}
    ranges = [f"{kind} {low:g} to {high:g}" for kind, (low, high) in known.items()]
    if not ranges:
        return ""
    drawn = f"{format_count(parity['prompts'], 'held-out prompt')}, {format_count(parity['tokens'], 'token')}"
    return f"{name}, 95 % intervals over {drawn}: {', '.join(ranges)}"


def format_number(column: str, value: float) -> str:
    if column == "rows":
        return str(int(value))
    return f"{value:.{DIGITS.get(column, 3)}f}"


def sample_predictions(folder: Path, count: int) -> str:
    """Questions with the reference and what each model said."""
    predictions = {
        file.stem: cast("list[Prediction]", records.read_rows(file)) for file in sorted(folder.glob("*.jsonl"))
    }
    rows = next(iter(predictions.values()))
    indices = sorted({i * len(rows) // count for i in range(count)}) if rows else []
    return "\n\n".join(format_prediction(predictions, i) for i in indices)


def format_prediction(predictions: dict[str, "list[Prediction]"], i: int) -> str:
    first = next(iter(predictions.values()))[i]
    texts = {"question": first["question"], "reference": first["reference"]}
    texts |= {name: rows[i]["prediction"] for name, rows in predictions.items()}
    return text_table([(name, escape_controls(" ".join(text.split())[:200])) for name, text in texts.items()])
