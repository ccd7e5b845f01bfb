"""Rows that are in no split, as a person looks for them: of each reason the first ones, with their places."""

from collections.abc import Iterable, Iterator
from itertools import zip_longest
from typing import Any, TypedDict

from refrain.data.splitting.row_store import RejectedRow

MAX_EXAMPLES = 3  # of one reason in one source


class Example(TypedDict):
    id: str
    message: str


Examples = dict[str, list[Example]]  # by reason


def add_examples(examples: Examples, rejected: Iterable[RejectedRow]) -> None:
    """The first rows of each reason, of those that come in their order."""
    for row in rejected:
        of_reason = examples.setdefault(row["reason"], [])
        if len(of_reason) < MAX_EXAMPLES:
            of_reason.append({"id": row["id"], "message": row["message"]})


def describe_reasons(reasons: dict[str, int]) -> str:
    """The reasons with their rows, the most frequent first."""
    return ", ".join(f"{reason} {rows:,}" for reason, rows in by_frequency(reasons))


def by_frequency(reasons: dict[str, int]) -> list[tuple[str, int]]:
    return sorted(reasons.items(), key=lambda item: (-item[1], item[0]))


def choose_examples(report: dict[str, Any]) -> list[Example]:
    """Some rows to show: one of each reason, the most frequent first, and further ones while there is room."""
    by_reason = [
        [example for source in report["sources"].values() for example in source["examples"].get(reason, [])]
        for reason, _ in by_frequency(report["reasons"])
    ]
    return list(interleave(by_reason))[:MAX_EXAMPLES]


def interleave(lists: Iterable[list[Example]]) -> Iterator[Example]:
    """The first of each list, then the second of each."""
    for examples in zip_longest(*lists):
        yield from (example for example in examples if example is not None)
