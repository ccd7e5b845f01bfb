"""What a run has shown: medians over rounds, ratios within a round, and the goals."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from statistics import median

from benchmarks.harness import tables
from benchmarks.harness.tables import Rows

TORCH, OPTIMUM = "torch fp32", "optimum fp32"
HEADER = [
    *["contender", "tokens/s", "x torch fp32", "x optimum", "of memory limit", "MB a token"],
    *["prefill 128", "prefill 512", "8 rows", "32 rows", "same tokens", "peak MB", "start s"],
]
SPEED_GOALS = [  # who, than whom, how many times
    *[(f"refrain {bits}", f"genai {bits}", wanted) for bits, wanted in (("fp32", 1.1), ("int8", 1.25), ("int4", 1.25))],
    ("refrain int8", "refrain int8-32", 1.0),
    *[(f"refrain {bits}", f"openvino {bits}", 1.0) for bits in ("int8", "int4")],
]
MEASURES: dict[str, Callable[["Turn"], float]] = {
    "prefill": lambda turn: turn.prefill,
    "8 rows": lambda turn: turn.rows.get(8, math.nan),
    "32 rows": lambda turn: turn.rows.get(32, math.nan),
}
OTHER_GOALS = [  # who, in what, than whom, how many times
    *[("refrain int8", "prefill", rival, wanted) for rival, wanted in (("genai int8", 1.7), ("openvino int8", 1.25))],
    *[("refrain int8", rows, "openvino int8", 1.15) for rows in ("8 rows", "32 rows")],
    *[("refrain int8", measure, "refrain int8-32", 1.0) for measure in MEASURES],
]


@dataclass(frozen=True)
class Turn:
    """What a contender did in one round; all speeds in tokens per second."""

    decode: float
    prefill: float
    long_prefill: float
    bandwidth: float  # bytes per second that memory delivered just before and just after
    others: float  # share of the cores' time that other processes used meanwhile
    bytes_per_token: int
    tokens: list[int]
    peak_mb: float
    start_s: float
    rows: dict[int, float] = field(default_factory=dict)  # tokens a second of so many rows together

    @property
    def share(self) -> float:
        """Of the speed at which memory delivers the weights."""
        return self.decode * self.bytes_per_token / self.bandwidth


@dataclass
class Result:
    turns: list[Turn] = field(default_factory=list)
    refusal: str | None = None


Results = dict[str, Result]


def page(title: str, results: Results, layout: Callable[[Rows], str]) -> str:
    """All that there is to say of a shape: the machine, the contenders, the goals."""
    turns = [turn for result in results.values() for turn in result.turns]
    if turns:
        title += f"; memory delivers {format_range([turn.bandwidth / 1e9 for turn in turns], '.1f')} GB/s"
        title += f", other processes use {format_range([turn.others for turn in turns], '.0%')} of the cores"
    standings = tables.without_empty_columns([HEADER, *(standing(name, results) for name in results)])
    goals = [["goal", "wanted", "median (range) over rounds", "reached"], *speed_goals(results), *other_goals(results)]
    return "\n\n".join([f"{title}.", layout(standings), *([layout(goals)] if len(goals) > 1 else [])])


def standing(name: str, results: Results) -> list[str]:
    """A contender's line of the table: medians, or why there are none."""
    turns, refusal = results[name].turns, results[name].refusal
    if refusal is not None:
        return [name, f"does not run: {refusal}"]
    return [
        name,
        format_median([turn.decode for turn in turns], ".1f"),
        format_median(ratios(results, name, TORCH), ".2f"),
        format_median(ratios(results, name, OPTIMUM), ".2f"),
        format_median([turn.share for turn in turns], ".0%"),
        format_median([turn.bytes_per_token / 1e6 for turn in turns], ".1f"),
        format_median([turn.prefill for turn in turns], ".0f"),
        format_median([turn.long_prefill for turn in turns], ".0f"),
        *(format_median(known([MEASURES[rows](turn) for turn in turns]), ".0f") for rows in ("8 rows", "32 rows")),
        format_median([agreement(turn, other) for turn, other in paired_turns(results, name, TORCH)], ".0f"),
        format_median([turn.peak_mb for turn in turns], ".0f"),
        format_median([turn.start_s for turn in turns], ".2f"),
    ]


def speed_goals(results: Results) -> Rows:
    """What is to be reached against those of the others that ran."""
    return [
        goal_row(f"{name} against {rival}", wanted, values)
        for name, rival, wanted in SPEED_GOALS
        if (values := ratios(results, name, rival))
    ]


def other_goals(results: Results) -> Rows:
    """What is to be reached against others in something else than decoding one row."""
    return [
        goal_row(f"{name}, {what}, against {rival}", wanted, values)
        for name, what, rival, wanted in OTHER_GOALS
        if (values := measure_ratios(results, name, what, rival))
    ]


def known(numbers: list[float]) -> list[float]:
    """Those that were measured."""
    return [number for number in numbers if not math.isnan(number)]


def goal_row(what: str, wanted: float, values: list[float]) -> list[str]:
    return [what, f"{wanted:.2f}", format_range(values, ".2f"), "yes" if median(values) >= wanted else "no"]


def ratios(results: Results, name: str, rival: str) -> list[float]:
    """How many times as fast one decodes as another, once for each round."""
    return [turn.decode / other.decode for turn, other in paired_turns(results, name, rival)]


def measure_ratios(results: Results, name: str, what: str, rival: str) -> list[float]:
    """How many times as fast in a measure, once for each round in which both can do it."""
    of = MEASURES[what]
    return known([of(turn) / of(other) for turn, other in paired_turns(results, name, rival)])


def paired_turns(results: Results, name: str, rival: str) -> list[tuple[Turn, Turn]]:
    """The turns of two contenders in the same rounds; none where one of them does not run."""
    both = [results[each] for each in (name, rival) if each in results and results[each].refusal is None]
    return list(zip(both[0].turns, both[1].turns, strict=True)) if len(both) == 2 else []


def agreement(turn: Turn, other: Turn) -> int:
    """How many tokens are the same before the first that is not."""
    same = [token == rival for token, rival in zip(turn.tokens, other.tokens, strict=True)]
    return [*same, False].index(False)


def format_median(numbers: list[float], form: str) -> str:
    return f"{median(numbers):{form}}" if numbers else "-"


def format_range(numbers: list[float], form: str) -> str:
    return f"{median(numbers):{form}} ({min(numbers):{form}} to {max(numbers):{form}})"
