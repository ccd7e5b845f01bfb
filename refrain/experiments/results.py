"""The outcome of a run for the terminal: metrics, parity of every model, and some replies side by side."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from refrain.chat import records
from refrain.experiments.text_tables import number_table, text_table

if TYPE_CHECKING:
    from refrain.evaluation.scoring import Prediction

PARITY_COLUMNS = ("whole", "cached", "batched", "chunked", "mean", "kl", "top1", "greedy", "rouge", "perplexity")
COLUMNS = ("exact_match", "token_f1", "bleu", "rouge1", "rouge2", "rougeL", "perplexity", "rows")


def results_report(metrics: Path, parity: Path, predictions: Path, count: int) -> str:
    """The tables of metrics and parity, and `count` test questions with all replies; ValueError if there are none."""
    if not (metrics.is_file() and parity.is_file() and predictions.is_dir()):
        raise ValueError(f"{metrics}: there are no results yet; make them with `dvc repro`")
    scores, parity_report = (json.loads(path.read_text(encoding="utf-8")) for path in (metrics, parity))
    return f"{metrics_table(scores)}\n\n{parity_table(parity_report)}\n\n{sample_predictions(predictions, count)}"


def metrics_table(results: dict[str, dict[str, float]]) -> str:
    """One aligned line a model."""
    rows = [[name, *(format_number(column, result[column]) for column in COLUMNS)] for name, result in results.items()]
    return number_table([["model", *COLUMNS], *rows])


def parity_table(report: dict[str, Any]) -> str:
    """One aligned line for each model from merged to the smallest variant, and why those left out are left out."""
    models = {name: parity for name, parity in report.items() if isinstance(parity, dict)}
    order = sorted(models, key=lambda name: (name != "merged", name != "fp32", name))
    rows = [
        [
            name,
            models[name]["reference"],
            *(f"{models[name][kind]:g}" if kind in models[name] else "" for kind in PARITY_COLUMNS),
        ]
        for name in order
    ]
    title = (f"{report['prompts']} prompts, {report['steps']} tokens after each; "
             "largest difference of a logit by execution mode, in standard deviations")  # fmt: skip
    reasons = [f"{name} is left out: {sentence}" for name in order for sentence in models[name].get("fails", [])]
    return "\n".join([title, number_table([["model", "reference", *PARITY_COLUMNS], *rows]), *reasons])


def format_number(column: str, value: float) -> str:
    if column == "rows":
        return str(int(value))
    return f"{value:.1f}" if column in ("bleu", "perplexity") else f"{value:.3f}"


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
    return text_table([(name, " ".join(text.split())[:200]) for name, text in texts.items()])
