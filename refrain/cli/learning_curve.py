"""`refrain learning-curve`: what more training rows would bring."""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from refrain.cli import repository

HELP = "show what more training rows would bring"
PLOT = Path("runs/learning-curve.svg")


def add_parser(commands: Any) -> None:
    parser = commands.add_parser(
        "learning-curve", usage="refrain learning-curve [key=value ...] [options]", description=run.__doc__
    )
    add = parser.add_argument
    add("overrides", nargs="*", metavar="key=value", help="values of all its trainings, such as method=full")
    add(
        "--shares",
        nargs="+",
        type=share,
        default=[0.125, 0.25, 0.5, 1.0],
        metavar="SHARE",
        help="of the training rows, each part of the next, default: 0.125 0.25 0.5 1",
    )
    add("--metric", default="rougeL", metavar="METRIC", help="default: %(default)s")
    add("--plot", type=repository.typed_path, default=PLOT, metavar="FILE", help="an SVG, default: %(default)s")
    add("--json", action="store_true", help="print JSON, a list of points")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Train on growing shares of the training rows, each as a DVC experiment, and test them on the same rows."""
    repository.require_root("learns from shares of its rows")
    from refrain.experiments import learning_curve, pictures  # --help should not wait for DVC

    shares = sorted(set(options.shares))
    if len(shares) < 2:
        raise ValueError("--shares: a curve needs two shares or more, such as --shares 0.25 0.5 1")
    learning_curve.require_metric(options.metric)
    found = [learning_curve.run_share(each, options.overrides) for each in shares]
    values = learning_curve.list_values(learning_curve.measure_points(shares, found), options.metric)
    print(json.dumps(values, indent=2) if options.json else learning_curve.curve_report(values, options.metric))
    if pictures.can_draw():
        options.plot.parent.mkdir(parents=True, exist_ok=True)
        options.plot.write_text(pictures.draw_svg(learning_curve.build_spec(values, options.metric)), encoding="utf-8")
        print(f"wrote {options.plot}", file=sys.stderr)
    else:
        print(f"{options.plot} is not written: {pictures.NEEDED}", file=sys.stderr)
    return 0


def share(text: str) -> float:
    """Above 0, up to 1."""
    if "=" in text:
        raise argparse.ArgumentTypeError(f"{text} is no share; key=value stands before --shares, or behind --")
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0 < number <= 1:
        raise argparse.ArgumentTypeError(f"{text} is no share above 0, up to 1")
    return number
