"""`refrain bench`: how fast and how faithful every variant is on this machine."""

import argparse
from typing import Any

from refrain.cli.options import positive_int
from refrain.pipeline import paths, progress

HELP = "measure speed and memory of every variant"


def add_parser(commands: Any) -> None:
    parser = commands.add_parser("bench", description=run.__doc__)
    parser.add_argument("--rounds", type=positive_int, default=5, metavar="N", help="default: %(default)s")
    parser.add_argument("--threads", type=positive_int, metavar="N", help="default: as many as there are cores")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Measure the speed of every variant in models/onnx on this machine; reports/variants.md keeps table and plot."""
    from refrain.experiments import bench  # --help should not wait for ONNX Runtime

    folders = [paths.ONNX / name for name in bench.passing_variants(paths.ONNX)]
    rounds = []
    with progress.open_bar("rounds", options.rounds) as bar:
        for measured in bench.measure_rounds(folders, options.threads, options.rounds):
            rounds.append(measured)
            bar.update()
    print(bench.write_report(paths.ONNX, rounds, bench.describe_machine(options.threads), bench.TABLE))
    return 0
