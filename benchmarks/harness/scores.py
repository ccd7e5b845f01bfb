"""What a run has shown: medians over rounds, ratios within a round, and the goals."""

from collections.abc import Callable
from dataclasses import dataclass, field
from statistics import median

from benchmarks.harness.tables import Rows

TORCH, OPTIMUM = "torch fp32", "optimum fp32"
HEADER = [
    *["contender", "tokens/s", "x torch fp32", "x optimum", "of memory limit", "MB a token"],
    *["prefill 128", "prefill 512", "same tokens", "peak MB", "start s"],
]
SPEED_GOALS = [  # who, than whom, how many times
    *[("refrain fp32", TORCH, 3.2), ("refrain int8", TORCH, 8.5), ("refrain int4", TORCH, 12.0)],
    *[("refrain int8-64", TORCH, 8.5), ("refrain int4-64", TORCH, 12.0)],
    *[("refrain fp32", OPTIMUM, 1.4), ("refrain int8", OPTIMUM, 3.5), ("refrain int4", OPTIMUM, 5.0)],
    *[("refrain int8-64", OPTIMUM, 3.5), ("refrain int4-64", OPTIMUM, 5.0)],
    *[(f"refrain {precision}", f"genai {precision}", 1.1) for precision in ("fp32", "int8", "int4")],
]
LIMIT_GOALS = [
    *[("refrain fp32", 0.85), ("refrain int8", 0.70), ("refrain int4", 0.45)],
    *[("refrain int8-64", 0.70), ("refrain int4-64", 0.45)],
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
    standings = [HEADER, *(standing(name, results) for name in results)]
    goals = [["goal", "wanted", "median (range) over rounds", "reached"], *speed_goals(results), *limit_goals(results)]
    return "\n\n".join([f"{title}.", layout(standings), layout(goals)])


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
        format_median([agreement(turn, other) for turn, other in paired_turns(results, name, TORCH)], ".0f"),
        format_median([turn.peak_mb for turn in turns], ".0f"),
        format_median([turn.start_s for turn in turns], ".2f"),
    ]


def speed_goals(results: Results) -> Rows:
    """What is to be reached against others."""
    return [
        goal_row(f"{name} against {rival}", wanted, ratios(results, name, rival), ".2f")
        for name, rival, wanted in SPEED_GOALS
    ]


def limit_goals(results: Results) -> Rows:
    """What is to be reached of what memory allows."""
    ran = {name: result.turns if result.refusal is None else [] for name, result in results.items()}
    return [
        goal_row(f"{name}, of the memory limit", wanted, [turn.share for turn in ran.get(name, [])], ".0%")
        for name, wanted in LIMIT_GOALS
    ]


def goal_row(what: str, wanted: float, values: list[float], form: str) -> list[str]:
    if not values:
        return [what, f"{wanted:{form}}", "-", "not measured"]
    return [what, f"{wanted:{form}}", format_range(values, form), "yes" if median(values) >= wanted else "no"]


def ratios(results: Results, name: str, rival: str) -> list[float]:
    """How many times as fast one decodes as another, once for each round."""
    return [turn.decode / other.decode for turn, other in paired_turns(results, name, rival)]


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
