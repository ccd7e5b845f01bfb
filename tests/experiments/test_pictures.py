"""The plots of dvc.yaml in SVG: what they say of a run, of a tiny one and of two side by side."""

import json
import re

import pytest
import yaml
from dvc_render.vega import VegaRenderer
from places import ROOT

from refrain.experiments import pictures

PLOTS = {name: plot for each in yaml.safe_load((ROOT / "dvc.yaml").read_text())["plots"] for name, plot in each.items()}
TRAIN = [("train/loss.tsv", step, loss) for step, loss in enumerate([4.5, 3.0, 3.5, 2.0, 0.25], start=1)]
VAL = [("val/loss.tsv", step, loss) for step, loss in [(0, 5.0), (2, 1.5), (5, 1.75)]]
KEPT = [("kept/loss.tsv", 2, 1.5)]
SPLITS = [("train", 13, 3), ("train", 40, 1508), ("val", 13, 0), ("val", 40, 7), ("test", 13, 1), ("test", 40, 0)]
MODELS = [("base", 0.0, 0.0, 0.25, 12), ("merged", 0.75, 0.5, 1.0, 12), ("onnx-int8", 1.0, 0.75, 1.0, 12)]


def rows(columns, points, revision="workspace"):
    """As DVC reads a file: text."""
    return [dict(zip(columns, map(str, point), strict=True)) | {"rev": revision} for point in points]


def losses(*points, revision="workspace"):
    return rows(["filename", "step", "loss"], points, revision)


def scores(*points, revision="workspace"):
    return rows(["model", "score", "low", "high", "rows"], points, revision)


def labels(name, data, y):
    """What a reader without eyes is told of a plot, and its SVG."""
    plot = PLOTS[name]
    words = {key: plot[key] for key in ("title", "x", "x_label", "template")} | {"y": y, "y_label": plot.get("y_label")}
    renderer = VegaRenderer(data, name, template_dir=str(ROOT / ".dvc/plots"), **words)
    svg = pictures.draw_svg(renderer.get_filled_template())
    assert "NaN" not in svg
    return re.findall(r'aria-label="([^"]*)"', svg), re.findall(r"<text[^>]*>([^<]+)", svg)


@pytest.mark.parametrize("name", PLOTS)
def test_every_plot_has_a_template_in_the_common_style_and_names_its_axes(name):
    template = json.loads((ROOT / f".dvc/plots/{PLOTS[name]['template']}.json").read_text())
    assert template["config"] == pictures.STYLE
    assert all(colour in json.dumps(template) for colour in pictures.COLOURS)
    assert PLOTS[name]["title"] and PLOTS[name]["x_label"]


def test_the_loss_is_smoothed_and_the_kept_step_is_told():
    told, texts = labels("loss", losses(*TRAIN, *VAL, *KEPT), "loss")
    assert "weights kept: step 2, validation loss 1.500" in texts
    assert "training, smoothed (faint: each step)" in texts and "validation" in texts
    assert {"optimiser step: 2; line: validation", "optimiser step: 2; loss (nats): 1.5"} <= set(told), "line and ring"


@pytest.mark.parametrize("steps", range(6))
def test_a_training_of_few_steps_can_be_drawn(steps):
    _, texts = labels("loss", losses(*TRAIN[:steps], *VAL[:1]), "loss")
    assert "optimiser step" in texts


def test_runs_side_by_side_are_told_apart_by_colour():
    other = losses(*TRAIN, *VAL, *KEPT, revision="calm")
    _, texts = labels("loss", losses(*TRAIN, *VAL, *KEPT) + other, "loss")
    assert [text for text in texts if not text[0].isdigit()][2:4] == ["workspace", "calm"]
    assert not [text for text in texts if text.startswith(("weights kept", "validation"))]


def test_scores_stand_beside_their_intervals_and_bars_begin_at_zero():
    told, texts = labels("scores", scores(*MODELS), "model")
    assert "0.750 (0.500 to 1.000)" in texts and "mean of 12 rows (95 % interval)" in texts
    assert next(label for label in told if label.startswith("X-axis")).endswith("values from 0.0 to 1.0")
    _, texts = labels("scores", scores(*MODELS) + scores(*MODELS, revision="calm"), "model")
    assert {"workspace", "calm"} <= set(texts)


def test_scores_of_a_run_without_intervals_can_be_drawn():
    _, texts = labels("scores", rows(["model", "score"], [("base", 0.5)]), "model")
    assert "0.500" in texts


def test_lengths_are_told_split_by_split():
    data = rows(["field", "tokens", "dvc_inferred_y_value"], SPLITS)
    _, texts = labels("lengths", data, "dvc_inferred_y_value")
    heads = [text for text in texts if text.endswith(" measured")]
    assert heads == ["train, 1,511 rows measured", "val, 7 rows measured", "test, 1 rows measured"]
    assert texts.count("rows") == 3 and "tokens of a row, with its chat template" in texts
