"""Test rows of two runs side by side: which are the same, and how two test sets differ."""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

from refrain.evaluation.scoring import Prediction
from refrain.pipeline.plurals import format_count

Content = tuple[str, str]  # question and reference: ids move when files do


@dataclass(frozen=True)
class RowPairs:
    """The rows that two runs have in common, in the order of the candidate, and those that one of them lacks."""

    candidate: list[Prediction]
    baseline: list[Prediction]
    only_candidate: list[Prediction]
    only_baseline: list[Prediction]

    @property
    def is_same_set(self) -> bool:
        return not self.only_candidate and not self.only_baseline

    def describe_difference(self) -> str:
        """How the two test sets differ, on one line; empty where they do not."""
        ids = {row["id"] for row in self.only_baseline}
        others = sum(row["id"] in ids for row in self.only_candidate)
        counts = {
            "have another question or reference under the same id": others,
            "are the candidate's alone": len(self.only_candidate) - others,
            "are the baseline's alone": len(self.only_baseline) - others,
        }
        first = next(iter([*self.only_candidate, *self.only_baseline]), None)
        parts = [f"{count} {meaning}" for meaning, count in counts.items() if count]
        return (
            f"{format_count(len(self.candidate), 'row')} in both, {', '.join(parts)} (such as {first['id']})"
            if first
            else ""
        )


def pair_rows(candidate: list[Prediction], baseline: list[Prediction]) -> RowPairs:
    """The same question with the same reference is the same row; of those that occur more often, ids go together."""
    waiting: dict[Content, list[Prediction]] = defaultdict(list)
    for row in baseline:
        waiting[content_of(row)].append(row)
    partners = dict(find_partners(candidate, waiting))
    pairs = [(row, partners[i]) for i, row in enumerate(candidate) if i in partners]
    used = {id(partner) for partner in partners.values()}
    return RowPairs(
        candidate=[row for row, _ in pairs],
        baseline=[row for _, row in pairs],
        only_candidate=[row for i, row in enumerate(candidate) if i not in partners],
        only_baseline=[row for row in baseline if id(row) not in used],
    )


def find_partners(
    candidate: list[Prediction], waiting: dict[Content, list[Prediction]]
) -> Iterator[tuple[int, Prediction]]:
    """The place of each row of the candidate with its partner: first those of equal ids, then the others in order."""
    left = []
    for i, row in enumerate(candidate):
        same_id = next((other for other in waiting[content_of(row)] if other["id"] == row["id"]), None)
        if same_id is None:
            left.append(i)
        else:
            waiting[content_of(row)].remove(same_id)
            yield i, same_id
    for i in left:
        if others := waiting[content_of(candidate[i])]:
            yield i, others.pop(0)


def content_of(row: Prediction) -> Content:
    return row["question"], row["reference"]
