"""Questions with answers to choose from: the choices stand below the question, and the right one is the reply."""

from collections.abc import Iterable
from typing import Any

from refrain.data.shapes import fields
from refrain.data.shapes.conversations import Conversation
from refrain.data.shapes.errors import RowError
from refrain.data.shapes.fields import Fields
from refrain.data.shapes.shape import Shape, single_parser
from refrain.pipeline.schema import SourceConfig

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


MAX_DIGITS = 3  # of the number of a choice


Names = tuple[str, str, str]  # of the columns of the question, of the choices, and of what names the right one


def parse_choices(names: Names, first: int, row: Fields) -> Conversation:
    """The question, a line for each choice, and the right one, by its label, its text or its number."""
    question, choices, key = names
    labels, texts = list_choices(row[choices], choices)
    right = find_right(row[key], labels, texts, first)
    if right is None:
        raise RowError(
            "unknown_label", f"{key} of the row is {row[key]!a:.40}, which is none of its {len(texts)} choices"
        )
    lines = [f"{label}. {text}" for label, text in zip(labels, texts, strict=True)]
    asked = fields.require_text(row, question)
    above = [fields.require_text(row, "input")] if "input" in row else []
    content = "\n\n".join([*above, asked, "\n".join(lines)])
    return {"messages": [{"role": "user", "content": content}, {"role": "assistant", "content": lines[right]}]}


def list_choices(value: Any, name: str) -> tuple[list[str], list[str]]:
    """The labels and the texts of choices: an object of two lists or of texts, or a list of objects or of texts."""
    value = fields.read_json(value)
    if isinstance(value, dict) and not isinstance(value.get("text"), list):
        filled = {label: text for label, text in value.items() if text is not None}
        labels, texts = list(filled), list(filled.values())
    elif isinstance(value, dict):
        texts, labels = fields.require_list(value, "text", name), fields.require_list(value, "label", name)
    else:
        parts = fields.require_list({name: value}, name)
        texts = [part.get("text") if isinstance(part, dict) else part for part in parts]
        labels = [part.get("label", LETTERS[nth % 26]) if isinstance(part, dict) else LETTERS[nth % 26]
                  for nth, part in enumerate(parts)]  # fmt: skip
    if len(texts) != len(labels) or len(texts) < 2:
        raise RowError("contradiction", f"{name} of the row has {len(texts)} texts and {len(labels)} labels")
    place = f"a choice in {name}"
    return (
        [fields.require_text({"label": label}, "label", place) for label in labels],
        [fields.require_text({"text": text}, "text", place) for text in texts],
    )


def find_right(key: Any, labels: list[str], texts: list[str], first: int) -> int | None:
    """The place of the right choice; `first` is the number of the first one."""
    written = key.strip() if isinstance(key, str) else fields.written_number(key) or ""
    if written in labels:
        return labels.index(written)
    if texts.count(written) == 1:
        return texts.index(written)
    place = int(written) - first if written.isascii() and written.isdecimal() and len(written) < MAX_DIGITS else -1
    return place if 0 <= place < len(texts) else None


def has_right_choice(names: Names, row: Fields) -> bool:
    """Whether there is something to choose from, and the key names one of it."""
    try:
        labels, texts = list_choices(row.get(names[1]), names[1])
    except RowError:
        return False
    return any(find_right(row.get(names[2]), labels, texts, first) is not None for first in (0, 1))


def with_first_number(shape: Shape, source: SourceConfig, rows: Iterable[Fields], columns: dict[str, str]) -> Shape:
    """The shape whose keys count from 0 or from 1, as the rows show; ValueError where they leave it open."""
    if shape.name != "choices":
        return shape
    listed, key = (columns[name] for name in shape.required[1:])
    firsts = [firsts for row in rows if (firsts := possible_firsts(row, listed, key)) is not None]
    left = {0, 1}.intersection(*firsts)
    if firsts and len(left) > 1:
        raise ValueError(f"{source.path}: whether {key} counts {listed} from 0 or from 1 cannot be seen in its first "
                         f"rows; write letters, or the right text, in place of the numbers")  # fmt: skip
    return shape._replace(parse=single_parser(parse_choices, shape.required, min(left, default=0)))


def possible_firsts(row: Fields, listed: str, key: str) -> set[int] | None:
    """The numbers that the first choice of a row may have; None where its key is no number of a choice."""
    try:
        labels, texts = list_choices(row.get(listed), listed)
    except RowError:
        return None
    places = [find_right(row.get(key), labels, texts, first) for first in (0, 1)]
    return None if places[0] == places[1] else {first for first in (0, 1) if places[first] is not None}
