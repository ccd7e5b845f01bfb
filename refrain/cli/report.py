"""`refrain report`: the results of the last run."""

import argparse
from typing import Any

from refrain.cli.options import positive_int

HELP = "show the results of the last run"


def add_parser(commands: Any) -> None:
    parser = commands.add_parser("report", description=run.__doc__)
    parser.add_argument("--samples", type=positive_int, default=3, metavar="N", help="questions, default: %(default)s")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Metrics and parity of every model, and test questions with the reply of each."""
    from refrain.experiments import results

    print(results.results_report(options.samples))
    return 0
