"""What servers have shown: medians over rounds, and ratios of times and speeds within a round."""

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field
from statistics import median

from benchmarks.harness.load import Load
from benchmarks.harness.served_contenders import ServedContender
from benchmarks.harness.tables import Rows

HEADER = [
    *("questions", "ours, its", "clients"),
    *("tokens/s", "x", "first token p50 ms", "x", "p99 ms", "x", "gap p99 ms", "x"),
]
START_HEADER = [
    *("contender", "ready s", "x", "first token s", "x"),
    *("RSS at rest MB", "PSS", "x", "RSS under load", "PSS", "x"),
]


@dataclass(frozen=True)
class Turn:
    """One contender's part of a round."""

    speed: float
    first_token: float
    slow_first_token: float
    gap: float
    others: float  # share of the cores' time that other processes used meanwhile
    client: float  # ... and that the clients used

    @classmethod
    def of(cls, load: Load, others: float, client: float) -> "Turn":
        return cls(load.speed(), load.first_token(50), load.first_token(99), load.gap(99), others, client)

    def tell(self, name: str) -> str:
        """A line of it."""
        return (f"{name:16} {self.speed:6.0f} tokens/s, first token {1000 * self.first_token:5.0f} ms, "
                f"p99 {1000 * self.slow_first_token:5.0f}, gap p99 {1000 * self.gap:4.0f}; "
                f"clients used {self.client:.0%} of the cores, others {self.others:.0%}")  # fmt: skip


@dataclass(frozen=True)
class Start:
    """How long a contender took from the start of its process."""

    ready: float
    first_token: float


@dataclass
class Result:
    turns: dict[tuple[str, int], list[Turn]] = field(default_factory=dict)  # by kind of question and clients
    starts: list[Start] = field(default_factory=list)
    rest: tuple[float, float] = (0.0, 0.0)  # RSS and PSS in MB
    peak: list[float] = field(default_factory=lambda: [0.0, 0.0])


Results = dict[str, Result]
TURN_CELLS: list[tuple[Callable[[Turn], float], float, bool]] = [  # what, in which unit, whether more is better
    (lambda turn: turn.speed, 1, True),
    (lambda turn: turn.first_token, 1000, False),
    (lambda turn: turn.slow_first_token, 1000, False),
    (lambda turn: turn.gap, 1000, False),
]


def load_rows(contenders: Collection[ServedContender], results: Results, kinds: dict[str, str]) -> Rows:
    """A line for each contender that is nobody's rival, under so many clients; ratios above 1 are ahead."""
    rows, rivals = [HEADER], {each.rival for each in contenders}
    for kind, title in kinds.items():
        for each in (each for each in contenders if each.name not in rivals):
            label = f"{each.name}, {each.rival}" if each.rival in results else each.name
            for clients in sorted(clients for name, clients in results[each.name].turns if name == kind):
                cells: list[str] = []
                rival = results.get(each.rival, Result())
                both = [result.turns.get((kind, clients), []) for result in (results[each.name], rival)]
                for of, unit, is_speed in TURN_CELLS:
                    own, theirs = ([of(turn) * unit for turn in turns] for turns in both)
                    cells += compare(own, theirs, is_speed)
                rows.append([title, label, str(clients), *cells])
    return rows


def start_rows(contenders: Iterable[ServedContender], results: Results) -> Rows:
    """How soon each contender answered, and its memory."""
    rows: Rows = [START_HEADER]
    for each in contenders:
        own, rival = results[each.name], results.get(each.rival, Result())
        cells = []
        for name in ("ready", "first_token"):
            cells += compare([getattr(start, name) for start in own.starts],
                             [getattr(start, name) for start in rival.starts], False, ".2f")  # fmt: skip
        for mine, theirs in ((own.rest, rival.rest), (own.peak, rival.peak)):
            cells += [f"{mine[0]:.0f}", *compare([mine[1]], [theirs[1]] if theirs[1] else [], False)]
        rows.append([each.name, *cells])
    return rows


def compare(own: list[float], rivals: list[float], is_speed: bool, form: str = "") -> list[str]:
    """A median, and how many times better it is than a rival's, the median of the rounds' ratios."""
    if not own:
        return ["", ""]
    ratios = [mine / theirs if is_speed else theirs / mine for mine, theirs in zip(own, rivals, strict=False)]
    value = median(own)
    form = form or (".0f" if value >= 20 else ".1f")
    return [f"{value:{form}}", f"{median(ratios):.2f}" if ratios else ""]


def sum_up(rows: Rows) -> str:
    """At how many points those with a rival are ahead of it, and where they are not."""
    header, *lines = rows
    ratios = [(line, i) for line in lines for i, name in enumerate(header) if name == "x" and line[i]]
    behind = [f"{header[i - 1]} {line[i]} ({', '.join(line[:3])})" for line, i in ratios if float(line[i]) < 1]
    sentence = f"ahead at {len(ratios) - len(behind)} of {len(ratios)} points"
    return f"{sentence}; behind: {'; '.join(behind)}" if behind else sentence
