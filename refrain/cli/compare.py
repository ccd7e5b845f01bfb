"""`refrain compare`: which of two runs is better, and whether chance explains it."""

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from refrain.cli import repository
from refrain.cli.options import whole_number

if TYPE_CHECKING:
    from refrain.experiments.comparison.verdicts import Comparison

HELP = "tell a better run from luck"
EPILOG = """\
The first name is the candidate, and is judged against each of the others, the baselines:

  refrain compare calm HEAD              is the experiment calm better than HEAD?
  refrain compare HEAD main              is this commit better than the branch main?
  refrain compare main:int8 main:fp32    two variants of one run; base and merged are such, too
  refrain compare a b c --baseline main  three candidates against one baseline
  refrain compare                        the workspace against HEAD

Exit codes: 0; 1 where the gate of --fail-if fails; 2 for options that are wrong; 3 where nothing can be compared.
"""


def add_parser(commands: Any) -> None:
    parser = commands.add_parser(
        "compare",
        usage="refrain compare [CANDIDATE] [BASELINE ...] [options]",
        description=run.__doc__,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add(
        "names", nargs="*", metavar="NAME", help="commit, tag, branch, experiment or `workspace`, perhaps with :VARIANT"
    )
    add("--baseline", metavar="NAME", help="judge all names, or --queue, against this one")
    add(
        "--queue",
        action="store_true",
        help="the candidates are the experiments of HEAD, as a grid in the queue leaves them",
    )
    add("--variant", default="best", metavar="VARIANT", help="best, base, merged, fp32, int8 ...; default: %(default)s")
    add(
        "--metrics",
        nargs="+",
        metavar="METRIC",
        help="test these alone, such as rougeL, or perplexity; default: all scores of answers",
    )
    add("--common", action="store_true", help="where test sets differ, compare the rows that both have")
    add("--rows", type=whole_number, default=3, metavar="N", help="rows won and lost to show, default: %(default)s")
    add("--fail-if", choices=["worse", "not-better"], help="exit with 1 if a candidate is so")
    add("--html", type=repository.typed_path, metavar="FILE", help="write a page, with all rows and both answers")
    add("--json", action="store_true", help="print JSON, described in docs/experiments.md")
    parser.set_defaults(run=run, failure_code=3)


def run(options: argparse.Namespace) -> int:
    """Judge a run against another on the test rows that both answered: better, worse, or no telling from chance."""
    repository.require_root("holds the runs to compare")
    from refrain.experiments.comparison import document, gate, report, selection, verdicts  # --help waits for no test
    from refrain.experiments.comparison.object_store import ObjectStore
    from refrain.experiments.comparison.predictions import read_pairs

    with ObjectStore() as store:
        chosen = selection.select_pairs(options.names, options.baseline, options.queue, options.variant)
        comparisons = verdicts.compare_runs(read_pairs(store, chosen), options.metrics, options.common)
        unfinished = store.count_unfinished() if options.queue else {}
    if options.html:
        write_page(options.html, comparisons)
    for state, count in unfinished.items():
        print(f"{count} experiments of the queue are {state}, so they are not compared", file=sys.stderr)
    if options.json:
        print(
            json.dumps(
                document.build_document(comparisons, options.fail_if, options.rows), indent=2, ensure_ascii=False
            )
        )
    else:
        print(report.comparison_report(comparisons, options.rows))
    if options.fail_if:
        print(gate.explain(options.fail_if, comparisons), file=sys.stderr if options.json else sys.stdout)
        return 1 if gate.fails(options.fail_if, comparisons) else 0
    return 0


def write_page(file: Path, comparisons: "list[Comparison]") -> None:
    """One file that a browser opens without a network."""
    from refrain.experiments.comparison import page_sections
    from refrain.experiments.html_report.page import render_page

    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(render_page("Comparison of runs", page_sections.build_sections(comparisons)), encoding="utf-8")
