"""`refrain compare`: which of two runs is better, and whether chance explains it."""

import argparse
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from refrain.cli import repository
from refrain.cli.options import whole_number

if TYPE_CHECKING:
    from refrain.experiments.comparison.predictions import RunPredictions
    from refrain.experiments.comparison.verdicts import Comparison, Verdict

HELP = "tell a better run from luck"
EPILOG = """\
The first name is the candidate, and is judged against each of the others, the baselines:

  refrain compare calm HEAD              is the experiment calm better than HEAD?
  refrain compare HEAD main              is this commit better than the branch main?
  refrain compare main:int8 main:fp32    two variants of one run; base and merged are such, too
  refrain compare a b c --baseline main  three candidates against one baseline
  refrain compare --queue --over seed    configurations that were run with several seeds
  refrain compare                        the workspace against HEAD

Exit codes: 0; 1 where the gate of --fail-if fails; 2 for options that are wrong; 3 where nothing can be compared.
"""
Outcome = tuple[str, dict[str, Any], "Mapping[str, Verdict]"]  # text, document, and the verdict of each pair


def add_parser(commands: Any) -> None:
    parser = commands.add_parser(
        "compare",
        usage="refrain compare [CANDIDATE] [BASELINE ...] [options]",
        description=run.__doc__,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("names", nargs="*", metavar="NAME", help="commit, tag, branch, experiment or `workspace`; :VARIANT behind it")
    add("--baseline", metavar="NAME", help="judge all names, or --queue, against this one")
    add("--queue", action="store_true", help="the candidates are the experiments of HEAD, of the queue for instance")
    add("--over", metavar="KEY", help="runs that differ in this key alone, such as seed, are repetitions of one")
    add("--variant", default="best", metavar="VARIANT", help="best, base, merged, fp32, int8 ...; default: %(default)s")
    add(
        "--metrics",
        nargs="+",
        metavar="METRIC",
        help="test these alone, such as rougeL; default: all of answers",
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
    from refrain.experiments.comparison import gate, selection  # --help waits for no test
    from refrain.experiments.comparison.object_store import ObjectStore
    from refrain.experiments.comparison.predictions import read_pairs

    if options.over and (options.html or options.common):
        raise ValueError("--over gives neither a page nor compares common rows; leave --html and --common out")
    with ObjectStore() as store:
        chosen = selection.select_pairs(options.names, options.baseline, options.queue, options.variant)
        pairs = read_pairs(store, chosen)
        unfinished = store.count_unfinished() if options.queue else {}
    text, document, verdicts = (compare_repetitions if options.over else compare_pairs)(options, pairs)
    for state, count in unfinished.items():
        print(f"experiments of the queue that are {state}, and so not compared: {count}", file=sys.stderr)
    if options.fail_if:
        document["gate"] = {"fail_if": options.fail_if, "fails": gate.fails(options.fail_if, verdicts)}
        text += f"\n\n{gate.explain(options.fail_if, verdicts)}"
    print(json.dumps(document, indent=2, ensure_ascii=False) if options.json else text)
    return 1 if options.fail_if and gate.fails(options.fail_if, verdicts) else 0


def compare_pairs(options: argparse.Namespace, pairs: "list[tuple[RunPredictions, RunPredictions]]") -> Outcome:
    """Each candidate against its baseline; a page of that, if one is asked for."""
    from refrain.experiments.comparison import document, report, verdicts

    comparisons = verdicts.compare_runs(pairs, options.metrics, options.common)
    if options.html:
        write_page(options.html, comparisons)
    text = report.comparison_report(comparisons, options.rows)
    found = {each.names: each.verdict for each in comparisons}
    return text, document.build_document(comparisons, options.rows), found


def compare_repetitions(options: argparse.Namespace, pairs: "list[tuple[RunPredictions, RunPredictions]]") -> Outcome:
    """Configurations with their repetitions against that of the baseline."""
    from refrain.experiments.comparison import repetitions, repetitions_report

    found = {each.run: each for pair in pairs for each in pair}
    if options.queue and not options.baseline and not repetitions.has_same_rows(*pairs[0]):
        left_out = found.pop(pairs[0][1].run)
        print(f"{left_out.run.name} was tested on other rows than the experiments, and so is left out", file=sys.stderr)
    runs = repetitions.require_same_rows(list(found.values()))
    groups = repetitions.group_runs(runs, options.over)
    metrics = repetitions.choose_shared_metrics(groups, options.metrics)
    comparisons = repetitions.compare_groups(groups, pairs[0][1], metrics)
    facts = groups, comparisons, options.over, metrics
    verdicts = {repetitions_report.name_pair(each): each.verdict for each in comparisons}
    return repetitions_report.repetitions_report(*facts), repetitions_report.build_document(*facts), verdicts


def write_page(file: Path, comparisons: "list[Comparison]") -> None:
    """One file that a browser opens without a network."""
    from refrain.experiments.comparison import page_sections
    from refrain.experiments.html_report.page import render_page

    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(render_page("Comparison of runs", page_sections.build_sections(comparisons)), encoding="utf-8")
    print(f"wrote {file}", file=sys.stderr)
