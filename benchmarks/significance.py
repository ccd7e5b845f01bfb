"""Whether intervals hold what they say, tests raise no more false alarms than they may, and power is as computed.

    python -m benchmarks.significance [--times 1000] [--only coverage difference alarms power]

Test sets are drawn from made-up rows whose true scores are known (benchmarks/harness/answer_pools.py); each number is a
share of so many draws. The table has the lowest and the highest over scores and cases, standard error has each.
"""

import argparse
import sys
from collections.abc import Iterator, Sequence

import numpy as np

from benchmarks.harness import tables
from benchmarks.harness.answer_pools import AnswerPool, make_pool
from refrain.evaluation import bootstrap
from refrain.evaluation.row_statistics import TEXT_METRICS
from refrain.experiments.comparison import paired_tests
from refrain.experiments.comparison.sample_size import ALPHA

ROWS = (10, 30, 100, 200)
Shares = dict[str, float]


def main() -> None:
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--times", type=int, default=1000)
    parser.add_argument("--only", nargs="+", choices=TABLES, default=[*TABLES])
    options = parser.parse_args()
    lines = [["share of draws", "wanted", "lowest", "highest"]]
    for name in options.only:
        header, *rows = TABLES[name](options.times)
        print(tables.align([header, *rows]), file=sys.stderr, flush=True)
        for title, columns, wanted in SUMMARY[name]:
            found = sorted(row[header.index(column)] for row in rows for column in columns)
            lines.append([title, wanted, found[0], found[-1]])
    print(tables.to_markdown(lines))


def coverage_table(times: int) -> Iterator[list[str]]:
    yield ["rows right", "rows", *TEXT_METRICS]
    for skill in (0.3, 0.87, 0.97):
        pool = make_pool(skill, 0, 0)
        for rows in ROWS:
            yield [f"{skill}", f"{rows}", *shares(interval_coverage(pool, rows, times))]


def difference_table(times: int) -> Iterator[list[str]]:
    yield ["rows that differ", "rows", *TEXT_METRICS]
    for changed in (0.02, 0.1, 0.5):
        pool = make_pool(0.8, changed, 0.8)
        for rows in ROWS[1:]:
            yield [f"{changed}", f"{rows}", *shares(difference_coverage(pool, rows, times))]


def alarm_table(times: int) -> Iterator[list[str]]:
    yield ["rows that differ", "rows", *TEXT_METRICS, "any"]
    for changed in (0.02, 0.1, 0.5, 1.0):
        pool = make_pool(0.7, changed, 0.7)
        for rows in ROWS[1:]:
            yield [f"{changed}", f"{rows}", *shares(false_alarms(pool, rows, times))]


def power_table(times: int) -> Iterator[list[str]]:
    yield ["rows that differ", "gain", "score", "difference", "rows_needed", "power"]
    for changed, gain in ((0.2, 1.0), (0.5, 0.8), (1.0, 0.8)):
        pool = make_pool(0.6, changed, gain)
        for metric in TEXT_METRICS:
            rows, share = power_at_rows_needed(pool, metric, times)
            yield [f"{changed}", f"{gain}", metric, f"{pool.difference(metric):.3f}", f"{rows}", f"{share:.3f}"]


def shares(found: Shares) -> list[str]:
    return [f"{share:.3f}" for share in found.values()]


def interval_coverage(pool: AnswerPool, rows: int, times: int) -> Shares:
    """How often the interval of each score holds that of all rows."""
    held = dict.fromkeys(pool.statistics, 0)
    for number in range(times):
        drawn = {name: a for name, (a, _) in pool.draw(rows, np.random.default_rng(number)).items()}
        for name, (low, high) in bootstrap.score_intervals(drawn, number).items():
            held[name] += low <= pool.statistics[name][0].value <= high
    return {name: count / times for name, count in held.items()}


def difference_coverage(pool: AnswerPool, rows: int, times: int) -> Shares:
    """How often the interval of each difference holds that of all rows."""
    held = dict.fromkeys(pool.statistics, 0)
    for number in range(times):
        for name, pair in pool.draw(rows, np.random.default_rng(number)).items():
            found = paired_tests.compare_statistics(name, *pair, number)
            held[name] += found.low <= pool.difference(name) <= found.high
    return {name: count / times for name, count in held.items()}


def false_alarms(pool: AnswerPool, rows: int, times: int) -> Shares:
    """How often a test finds a difference where there is none; `any`, of all tests on one draw after Holm."""
    alarms = dict.fromkeys([*pool.statistics, "any"], 0)
    for number in range(times):
        drawn = pool.draw(rows, np.random.default_rng(number), is_fair=True)
        p_values = {name: paired_tests.find_p_value(name, *pair, number)[0] for name, pair in drawn.items()}
        for name, p_value in p_values.items():
            alarms[name] += p_value < ALPHA
        alarms["any"] += min(paired_tests.adjust_holm([*p_values.values()])) < ALPHA
    return {name: count / times for name, count in alarms.items()}


def power_at_rows_needed(pool: AnswerPool, metric: str, times: int) -> tuple[int, float]:
    """The rows that are said to be needed for the true difference, and how often so many find it."""
    needed = paired_tests.compare_statistics(metric, *pool.statistics[metric]).rows_needed or 0
    found = 0
    for number in range(times):
        pair = pool.draw(needed, np.random.default_rng(number))[metric]
        found += paired_tests.find_p_value(metric, *pair, number)[0] < ALPHA
    return needed, found / times


TABLES = {"coverage": coverage_table, "difference": difference_table, "alarms": alarm_table, "power": power_table}
SUMMARY: dict[str, list[tuple[str, Sequence[str], str]]] = {  # what to say of each, its columns, and what is wanted
    "coverage": [("intervals of a score that hold the true one", TEXT_METRICS, "0.95")],
    "difference": [("intervals of a difference that hold the true one", TEXT_METRICS, "0.95")],
    "alarms": [
        ("false alarms of a test", TEXT_METRICS, "at most 0.05"),
        ("false alarms of any of all scores, after Holm", ["any"], "at most 0.05"),
    ],
    "power": [("power at the rows that are said to be needed", ["power"], "0.80")],
}

if __name__ == "__main__":
    main()
