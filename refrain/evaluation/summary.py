"""What an evaluation leaves to look at: the plot of the scores, and the summary that experiments are compared by."""

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from refrain.evaluation.scores import read_scores, variant_name
from refrain.pipeline import manifest, paths
from refrain.runtime import onnx_folder

Results = dict[str, dict[str, Any]]  # of each model, as in reports/metrics.json


def write_scores(path: Path, results: Results) -> None:
    """ROUGE-L of every model with its 95 % interval, as `dvc plots` draws it."""
    rows = [
        [model, *(f"{number:.6f}" for number in (result["rougeL"], *result["intervals"]["rougeL"])), result["rows"]]
        for model, result in results.items()
    ]
    write_csv(path, ["model", "score", "low", "high", "rows"], rows)


def summarise(results: Results, train: Mapping[str, Any], onnx: Path) -> dict[str, Any]:
    """What `dvc exp show` compares: rows learned from, validation loss, ROUGE-L of each model, size of each file.

    `rougeL.best` is that of the variant which is shipped: the one number to sort by; its 95 % interval is
    `rougeL_low.best` to `rougeL_high.best`.
    """
    best = manifest.read_manifest(onnx)["best"]
    models = {variant_name(name): read_scores(result)["rougeL"] for name, result in results.items()}
    models["best"] = models[best]
    sizes = {name: onnx_folder.model_bytes(onnx / name) / 1e6 for name in variant_names(onnx)}
    return {
        "rows": train["rows"],
        "val_loss": train["val_loss"]["after"],
        "rougeL": {name: score.value for name, score in models.items()},
        "rougeL_low": {name: score.low for name, score in models.items()},
        "rougeL_high": {name: score.high for name, score in models.items()},
        "MB": {name: round(size, 2) for name, size in sizes.items()},
    }


def variant_names(onnx: Path) -> list[str]:
    """The variants in an artifact folder, by name; the best is one of them."""
    names = (folder.name for folder in onnx.iterdir() if onnx_folder.has_model(folder))
    return sorted(name for name in names if name != paths.BEST)


def write_csv(path: Path, header: list[str], rows: list[list[Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows([header, *rows])
