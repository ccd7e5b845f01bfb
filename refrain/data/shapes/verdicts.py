"""Two replies and a label on them: what its values mean is for a person to tell, and is never guessed."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

from refrain.data.shapes import fields
from refrain.data.shapes.columns import has_words, mostly, plain_name, write_mapping
from refrain.data.shapes.fields import Fields
from refrain.data.shapes.shape import Shape, single_parser
from refrain.data.shapes.votes import ANY_VERDICT, Verdict, parse_vote
from refrain.pipeline.plurals import format_count
from refrain.pipeline.schema import SourceConfig

PLACES: dict[str, Verdict] = {"first": 0, "second": 1, "tie": None}


PAIRS = (("0", "1"), ("1", "2"), ("a", "b"), ("j", "k"), ("left", "right"))  # ends of the names of two columns


LABEL_HINTS = (
    "label",
    "winner",
    "prefer",
    "choice",
    "verdict",
    "better",
    "best",
    "vote",
    "annotator",
    "judg",
    "strength",
)


MAX_VERDICTS, MAX_LENGTH = 10, 40  # values of a label, and characters of each


def with_verdicts(shape: Shape, source: SourceConfig, rows: Iterable[Fields]) -> Shape:
    """The shape whose labels mean what `verdicts` says; ValueError with what they say where it says nothing."""
    if "verdict" not in shape.required:
        return shape
    if not source.verdicts:
        counts = describe_counts(rows, source.fields.get("verdict", "verdict"))
        raise ValueError(f"{source.path}: its verdicts are {counts}; what they mean has to be told, beside the path: "
                         "`verdicts: {first: ..., second: ..., tie: ...}`, several values with commas")  # fmt: skip
    verdicts: dict[str, Verdict] = {}
    for name, values in source.verdicts.items():
        if name not in PLACES:
            raise ValueError(f"{source.path}: verdicts: {name} is none of {', '.join(PLACES)}")
        labels = [value.strip().lower().removesuffix(".0") for value in values.split(",")]
        if known := verdicts.keys() & labels:
            raise ValueError(f"{source.path}: verdicts: {known.pop()} stands twice, and can mean one thing only")
        verdicts |= dict.fromkeys(labels, PLACES[name])
    return shape._replace(parse=single_parser(parse_vote, ANY_VERDICT._replace(verdicts=verdicts)))


def find_pair(values: dict[str, list[Any]]) -> tuple[str, str] | None:
    """Two columns of replies, and no third, that differ only in their number or letter."""
    by_plain = {plain_name(column): column for column in values if values[column] and mostly(values[column], is_reply)}
    pairs = list(list_pairs(by_plain))
    return max(pairs, key=lambda pair: mostly(values[pair[0]], has_words), default=None)


def list_pairs(by_plain: dict[str, str]) -> Iterator[tuple[str, str]]:
    for plain, column in by_plain.items():
        for first, second in [ends for ends in PAIRS if plain.endswith(ends[0])]:
            stem = plain.removesuffix(first)
            family = [other for other in by_plain if re.fullmatch(re.escape(stem) + "([0-9]{1,2}|[a-z])", other)]
            if stem and stem + second in by_plain and len(family) <= len((first, second)):
                yield column, by_plain[stem + second]


def is_reply(value: Any) -> bool:
    return isinstance(value, str) and not value.strip().isdigit()


def describe_pair(
    pair: tuple[str, str], asked: dict[str, str], values: dict[str, list[Any]], rows: list[Fields]
) -> str:
    """What the labels of two replies say, and that a person has to tell what they mean."""
    others = [column for column in values if column not in (*pair, *asked.values()) and is_label(rows, column)]
    labels = sorted(others, key=lambda column: not any(hint in plain_name(column) for hint in LABEL_HINTS))
    mapping = {"prompt": asked.get("question", "prompt_column")}
    mapping |= {name: asked[name] for name in ("input", "system") if name in asked}
    mapping |= {"first": pair[0], "second": pair[1], "verdict": labels[0] if labels else "label_column"}
    counts = "; ".join(f"{label} says {describe_counts(rows, label)}" for label in labels[:3])
    return (
        f"its rows have two replies, {pair[0]} and {pair[1]}, and which is better has to be told"
        f" ({counts or 'no column is a label'}): write beside the path `fields: {write_mapping(mapping)}` and"
        " `verdicts: {first: ..., second: ..., tie: ...}` with the values that say so"
    )


def is_label(rows: list[Fields], column: str) -> bool:
    values = [row[column] for row in rows if not fields.is_empty(row.get(column))]
    return (
        bool(values)
        and all(isinstance(value, str | int | float) for value in values)
        and (len(set(values)) <= MAX_VERDICTS and max(len(str(value)) for value in values) <= MAX_LENGTH)
    )


def describe_counts(rows: Iterable[Fields], column: str) -> str:
    """What a column says, and how often."""
    counts = Counter(str(row[column]) for row in rows if not fields.is_empty(row.get(column)))
    return ", ".join(f"{value} ({format_count(count, 'row')})" for value, count in counts.most_common(MAX_VERDICTS))
