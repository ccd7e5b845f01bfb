"""Scores in a card: a table of every model for people, and the model-index that the Hub shows of the one in best/."""

import math
from collections.abc import Iterator, Mapping
from hashlib import sha256
from typing import Any

from refrain.evaluation.model_card import markdown
from refrain.evaluation.model_card.sections import SCORES
from refrain.evaluation.scores import ROWS, Score, model_name, read_scores
from refrain.pipeline import front_matter
from refrain.pipeline.plurals import format_count

METRICS = {  # ours: the Hub's name for it, and its name in text
    "rougeL": ("rouge", "ROUGE-L"),
    "rouge1": ("rouge", "ROUGE-1"),
    "rouge2": ("rouge", "ROUGE-2"),
    "token_f1": ("f1", "token F1"),
    "exact_match": ("exact_match", "exact match"),
    "bleu": ("bleu", "BLEU"),
    "perplexity": ("perplexity", "perplexity"),
}
SPLITS = ("test", "val", "train")  # the first with rows is scored
NO_ROWS = sha256(b"").hexdigest()
Results = Mapping[str, Mapping[str, Any]]  # of each model, as in reports/metrics.json


def add_scores(card: str, manifest: Mapping[str, Any], results: Results) -> str:
    """The card of an artifact with what was measured on it: a table in its section, a model-index in its YAML."""
    metadata, text = front_matter.split_front_matter(card)
    name = text.partition("# ")[2].partition("\n")[0]
    shipped = model_name(manifest["best"])
    dataset = scored_dataset(metadata.get("datasets", []), manifest["data"])
    return front_matter.join_front_matter(
        {**metadata, "model-index": model_index(name, dataset, read_scores(results[shipped]))},
        replace_section(text, SCORES, scores_section(results, shipped, dataset["split"])),
    )


def scored_dataset(datasets: list[str], hashes: Mapping[str, str]) -> dict[str, Any]:
    """The rows that were scored, as a model-index names them: of the Hub where all rows are of one data set there."""
    split = next((name for name in SPLITS if hashes[f"{name}.jsonl"] != NO_ROWS), SPLITS[-1])
    kind = datasets[0] if len(datasets) == 1 else "local"
    return {"name": f"{split} rows", "type": kind, "split": split, "revision": hashes[f"{split}.jsonl"]}


def model_index(name: str, dataset: Mapping[str, Any], scores: Mapping[str, Score]) -> list[dict[str, Any]]:
    """One result with all metrics, the intervals among the arguments of each."""
    metrics = [
        {"type": kind, "value": scores[key].value, "name": words, **interval_arguments(scores[key])}
        for key, (kind, words) in METRICS.items()
        if key in scores and math.isfinite(scores[key].value)
    ]
    task = {"type": "text-generation", "name": "Text Generation"}
    return [{"name": name, "results": [{"task": task, "dataset": dict(dataset), "metrics": metrics}]}]


def interval_arguments(score: Score) -> dict[str, Any]:
    has_bounds = all(bound is not None and math.isfinite(bound) for bound in (score.low, score.high))
    return {"args": {"low": score.low, "high": score.high, "confidence": 0.95}} if has_bounds else {}


def scores_section(results: Results, shipped: str, split: str) -> str:
    """Every model that was scored, with the 95 % intervals."""
    header = ("model", *(words for _, words in METRICS.values()))
    rows = [
        (f"{name} (in `best/`)" if name == shipped else name, *score_cells(read_scores(result)))
        for name, result in results.items()
    ]
    count = max(int(result[ROWS]) for result in results.values())
    return markdown.section(
        SCORES,
        f"Greedy replies to the prompts of {format_count(count, f'{split} row')}, compared with the data's own; "
        "perplexity is of the latter. In brackets the 95 % interval, of rows drawn like these.",
        markdown.table(header, rows),
    )


def score_cells(scores: Mapping[str, Score]) -> Iterator[str]:
    """A score of each metric, with its interval."""
    for key in METRICS:
        if key not in scores:
            yield ""
        elif scores[key].low is None:
            yield markdown.number(scores[key].value)
        else:
            value, low, high = scores[key]
            yield f"{markdown.number(value)} ({markdown.number(low)} to {markdown.number(high)})"


def replace_section(text: str, title: str, section: str) -> str:
    """The text with another section in place of that of this title."""
    start = text.index(f"{markdown.HEADING}{title}\n")
    end = text.find(markdown.HEADING, start + 1)
    return text[:start] + section + (text[end:] if end >= 0 else "")
