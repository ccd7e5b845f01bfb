"""`refrain report`: the results of the last run."""

import argparse
from typing import Any

from refrain.cli import repository
from refrain.cli.options import positive_int

HELP = "show the results of the last run, or write them as an HTML page"


def add_parser(commands: Any) -> None:
    parser = commands.add_parser("report", description=run.__doc__)
    parser.add_argument("--samples", type=positive_int, default=3, metavar="N", help="questions, default: %(default)s")
    parser.add_argument(
        "--html",
        type=repository.typed_path,
        metavar="FILE",
        help="write one HTML file with all of it and every test row",
    )
    parser.add_argument(
        "--rev", metavar="NAME", help="of this commit, tag or experiment, with --html; default: the last run"
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Metrics and parity of every model, and test questions with the reply of each."""
    if options.html is not None:
        from refrain.experiments.html_report import report_page

        print(report_page.write_report(options.html, options.rev))
        return 0
    if options.rev is not None:
        raise ValueError(f"--rev {options.rev} is for a page; name its file: --html report.html")
    from refrain.experiments import results

    print(results.results_report(options.samples))
    return 0
