"""A learning curve: the same training on growing shares of its rows, measured on the same test rows."""

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from refrain.evaluation import bootstrap
from refrain.experiments import pictures
from refrain.experiments.comparison import report, runs, verdicts
from refrain.experiments.comparison.comparable_scores import METRICS, read_statistics
from refrain.experiments.comparison.object_store import ObjectStore
from refrain.experiments.comparison.predictions import RunPredictions, read_predictions
from refrain.experiments.comparison.runs import Run
from refrain.experiments.text_tables import number_table
from refrain.pipeline import git, paths, revisions

KEY = "data.train_fraction"
HEADER = ["share", "training rows", "score", "95 % interval", "more than before", "p", "verdict"]


@dataclass(frozen=True)
class Point:
    """What was learned from a share of the training rows."""

    share: float
    rows: int
    predictions: RunPredictions


def require_metric(metric: str) -> None:
    """ValueError for a score that there is not, before anything is trained."""
    if metric not in METRICS:
        raise ValueError(f"--metric {metric}: there is no such score; choose from {', '.join(METRICS)}")


def run_share(share: float, overrides: Sequence[str]) -> Run:
    """An experiment that learns from a share of the rows, in a temporary copy; ValueError if it fails.

    One that is there already is made again, out of the run cache where nothing has changed: with --force, which
    replaces it, DVC would run every stage.
    """
    name, head = f"curve-{share:g}", git.resolve_commit("HEAD")
    runs.remove_experiment(head, name)
    settings = [word for override in [*overrides, f"{KEY}={share:g}"] for word in ("-S", override)]
    command = [sys.executable, "-m", "dvc", "exp", "run", "--temp", "--name", name, *settings]
    if subprocess.run(command, stdout=sys.stderr).returncode != 0:
        raise ValueError(f"{name}: this share of the training rows failed, as said above; put that right, then type "
                         "the same again: what has finished is taken from the cache")  # fmt: skip
    made = [commit for commit, other in runs.list_experiments(head) if other == name]
    if not made:
        raise ValueError(f"{name}: DVC kept no experiment, though it ran; `dvc exp list` shows what there is")
    return Run(name, "experiment", made[0], paths.BEST)


def measure_points(shares: Sequence[float], found: Sequence[Run]) -> list[Point]:
    """Each experiment with the rows that it learned from and what it answers."""
    rows = [json.loads(revisions.read_git_file(run.commit, str(paths.SUMMARY)))["rows"] for run in found]
    with ObjectStore() as store:
        said = [read_predictions(store, run) for run in found]
    return [Point(*each) for each in zip(shares, rows, said, strict=True)]


def list_values(points: Sequence[Point], metric: str) -> list[dict[str, Any]]:
    """The score of each point with its interval, and its verdict against the point before."""
    pairs = [(after.predictions, before.predictions) for before, after in pairwise(points)]
    steps = [None, *(comparison.scores[0] for comparison in verdicts.compare_runs(pairs, [metric], False))]
    values = []
    for point, step in zip(points, steps, strict=True):
        statistics = read_statistics(metric, point.predictions.rows)
        low, high = bootstrap.score_intervals({metric: statistics})[metric]
        facts = (point.share, point.rows, statistics.value, low, high)
        fact: dict[str, Any] = dict(zip(("share", "rows", "score", "low", "high"), facts, strict=True))
        if step is not None:
            gain = step.difference.difference
            fact |= {"difference": gain, "p_adjusted": step.p_adjusted, "verdict": step.verdict}
        values.append(fact)
    return values


def curve_report(values: Sequence[dict[str, Any]], metric: str) -> str:
    """The curve as a table, and what its last step says."""
    cells = [
        [
            f"{value['share']:g}",
            f"{value['rows']:,}",
            f"{value['score']:.4f}",
            f"{value['low']:.4f} to {value['high']:.4f}",
            *([f"{value['difference']:+.4f}", report.format_p(value["p_adjusted"]), value["verdict"]]
              if "verdict" in value else ["-", "-", "-"]),
        ]
        for value in values
    ]  # fmt: skip
    meaning = {
        "better": "the last rows still helped, so more of them are likely to",
        "cannot tell": "whether the last rows helped cannot be told from chance",
        "worse": "the last rows did harm: look at what they say",
    }
    last = meaning[values[-1]["verdict"]]
    return f"{metric}, over the same test rows\n{number_table([HEADER, *cells])}\n\n{report.wrap(last)}"


def build_spec(values: Sequence[dict[str, Any]], metric: str) -> dict[str, Any]:
    """The curve in Vega-Lite: intervals as a band, rows on a logarithmic axis."""
    score = {"type": "quantitative", "scale": {"zero": False}, "title": metric}
    line = {"y": {"field": "score", **score}, "color": {"value": pictures.COLOURS[0]}}
    band = {**line, "y": {"field": "low", **score}, "y2": {"field": "high"}}
    subtitle = "the same test rows for each point; band: 95 % interval"
    return {
        "$schema": "https://vega.github.io/schema/vega-lite/v5.json",
        "data": {"values": list(values)},
        "title": {"text": "Learning curve", "subtitle": subtitle, "anchor": "start", "offset": 12},
        "width": 560,
        "height": 280,
        "encoding": {
            "x": {"field": "rows", "type": "quantitative", "scale": {"type": "log"}, "title": "training rows"}
        },
        "layer": [
            {"mark": {"type": "area", "opacity": 0.25}, "encoding": band},
            {"mark": {"type": "line"}, "encoding": line},
            {"mark": {"type": "point", "filled": True, "size": 60}, "encoding": line},
        ],
        "config": pictures.STYLE,
    }
