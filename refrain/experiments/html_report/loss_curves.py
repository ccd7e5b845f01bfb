"""How the loss fell: of training as a mean and a band, of validation, and where the weights were kept."""

from typing import Any

from refrain.experiments.html_report import svg
from refrain.experiments.html_report.markup import paragraph, tag
from refrain.experiments.html_report.page import Section
from refrain.experiments.html_report.run_reports import Curve
from refrain.pipeline.plurals import format_count

HEIGHT, TOP, BOTTOM, LEFT = 300, 12, 44, 44
POINTS = 120  # of the training's curve, each a mean over as many steps


def loss_section(curves: dict[str, Curve], train: dict[str, Any]) -> Section:
    """The section of reports/loss and reports/train.json, of which one may be missing."""
    body = paragraph(describe_training(train)) if train else ""
    if any(curves.values()):
        caption = ("Loss is how surprised the model is by each token that it is to say, in nats: less is better. "
                   "Training: mean and range over neighbouring steps; validation: rows that are not learned from; "
                   "the ring: the weights that were kept.")  # fmt: skip
        body += svg.figure(lambda width: draw_curves(curves, width), caption)
    return Section("Training", body)


def describe_training(train: dict[str, Any]) -> str:
    learned = f"of which {train['supervised_tokens']:,} are those of replies, which are learned."
    rows, tokens = format_count(train["rows"], "row"), format_count(train["tokens"], "token")
    parts = [f"{format_count(train['steps'], 'step')} over {rows} of {tokens}, {learned}"]
    before, after = (train["val_loss"].get(name) for name in ("before", "after"))
    if before is not None and after is not None:
        parts.append(
            f"Validation loss went from {before:.2f} to {after:.2f}; the weights of step {train['kept']:,} are kept."
        )
    return " ".join(parts)


def draw_curves(curves: dict[str, Curve], width: int) -> str:
    train, val, kept = (curves.get(name, []) for name in ("train", "val", "kept"))
    bins = bin_curve(train)
    right = width - (96 if width >= svg.WIDE else 84)
    steps = [step for curve in (train, val, kept) for step, _ in curve]
    tops = [most for _, _, _, most in bins] + [loss for curve in (val, kept) for _, loss in curve]
    x = svg.Scale(0, max(steps), LEFT, right)
    y = svg.Scale(0, max(tops) * 1.02, HEIGHT - BOTTOM, TOP)
    parts = [*draw_axes(x, y, right), draw_band(bins, x, y)]
    parts += [svg.path([(x(step), y(loss)) for step, loss, _, _ in bins], "curve train")] if bins else []
    parts += [svg.path([(x(step), y(loss)) for step, loss in val], "curve val")] if val else []
    parts += [svg.circle(x(step), y(loss), 2.5, "dot val") for step, loss in val] if len(val) <= POINTS else []
    parts += [svg.circle(x(step), y(loss), 6, "ring") for step, loss in kept]
    last = {"training": bins[-1][1] if bins else None, "validation": val[-1][1] if val else None}
    ends = {name: value for name, value in last.items() if value is not None}
    for (name, value), place in zip(ends.items(), svg.spread([y(value) for value in ends.values()], 30), strict=True):
        class_ = "strong" if name == "validation" else None
        parts += [svg.text(right + 12, place, name, class_), svg.text(right + 12, place + 14, f"{value:.2f}", "quiet")]
    said = "Loss by step: " + ", ".join(f"{name} ends at {value:.2f}" for name, value in ends.items())
    return svg.picture(width, HEIGHT, said, *parts)


def draw_axes(x: svg.Scale, y: svg.Scale, right: float) -> list[str]:
    parts = []
    for value in svg.ticks(y.low, y.high):
        parts += [svg.line(LEFT, y(value), right, y(value), "grid"),
                  svg.text(LEFT - 8, y(value) + 4, f"{value:g}", "quiet", "end")]  # fmt: skip
    for value in svg.ticks(x.low, x.high, 5):
        parts.append(svg.text(x(value), HEIGHT - BOTTOM + 20, f"{value:,.0f}", "quiet", "middle"))
    return [*parts, svg.text((LEFT + right) / 2, HEIGHT - 6, "optimiser step", "quiet", "middle")]


def bin_curve(curve: Curve) -> list[tuple[float, float, float, float]]:
    """Step, mean, least and most of neighbouring steps, at most so many of them."""
    size = max(1, -(-len(curve) // POINTS))
    groups = [curve[i : i + size] for i in range(0, len(curve), size)]
    return [
        (sum(step for step, _ in group) / len(group), sum(loss for _, loss in group) / len(group),
         min(loss for _, loss in group), max(loss for _, loss in group))
        for group in groups
    ]  # fmt: skip


def draw_band(bins: list[tuple[float, float, float, float]], x: svg.Scale, y: svg.Scale) -> str:
    """From the least to the most of neighbouring steps."""
    upper = [(x(step), y(most)) for step, _, _, most in bins]
    lower = [(x(step), y(least)) for step, _, least, _ in reversed(bins)]
    points = " ".join(f"{svg.number(a)},{svg.number(b)}" for a, b in [*upper, *lower])
    return tag("polygon", "", points=points, class_="band") if bins else ""
