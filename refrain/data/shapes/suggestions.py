"""What to write when no shape fits: the first row, the shape that is nearest, and the `fields` that would read it."""

import re
from collections.abc import Callable, Collection, Iterable
from typing import Any

from refrain.data.shapes import fields, turn_rows, verdicts
from refrain.data.shapes.columns import has_words, is_text, is_turns, mostly, plain_name, write_mapping
from refrain.data.shapes.conversations import is_turn
from refrain.data.shapes.exchanges import pair_of
from refrain.data.shapes.fields import Fields
from refrain.data.shapes.registry import SHAPES
from refrain.data.shapes.shape import Shape, accept_any, column_names
from refrain.pipeline.schema import SourceConfig

HINTS = {  # parts of names of columns, for what they may hold
    "chosen": "chosen prefer accepted better winning good",
    "rejected": "reject dispref worse losing bad",
    "answer": "answer antwort respuesta resposta reponse réponse risposta ответ 回答 答案 response reply output target"
    " completion summary translation assistant chatbot solution",
    "question": "question frage pregunta pergunta domanda вопрос 问题 質問 prompt instruction query task user human"
    " message",
    "input": "input context passage document background article paragraph evidence story kontext",
    "system": "system persona preamble",
}


TEXTS = ("text", "content", "body", "document", "article")  # columns that no question stands beside


ID_NAME = re.compile(r"(?:(?:\A|[\W_])(?:id|idx|index|uuid)|[a-z]I[dD])\Z|\A(?:num|count)_", re.ASCII)  # or of a count


MIN_SHARE = 0.5  # of the columns of a shape that make it the nearest by their names alone


MAX_WORDLESS = 2  # columns of a file, of which one may be a question or an answer though it is a single word


MAX_SHOWN, MAX_LENGTH = 12, 40  # columns, and characters of each


CanRead = Callable[[dict[str, str]], bool]


def describe_misfit(
    source: SourceConfig, first_rows: list[Fields], other_rows: Iterable[Fields], can_read: CanRead
) -> str:
    """Why no shape fits, and what to do; `can_read` tells whether a mapping would read the rows."""
    columns = dict.fromkeys(column for row in first_rows for column in row)
    if turn_rows.is_tree(first_rows):
        return turn_rows.TREE_REASON
    shown = describe_row(next(row for row in first_rows if row))
    if turns := turn_rows.describe_unknown_roles(first_rows):
        return turns
    values = {column: [row[column] for row in first_rows if not fields.is_empty(row.get(column))] for column in columns}
    free = {column: kinds for column, kinds in values.items() if column not in source.fields.values()}
    if pair := verdicts.find_pair(free):
        asked = guess_mapping({name: column for name, column in free.items() if name not in pair
                               and mostly(column, verdicts.is_reply)})  # fmt: skip
        return verdicts.describe_pair(pair, asked, free, [*first_rows, *other_rows])
    mapping = source.fields | guess_mapping(free)
    texts = [column for column in free if mostly(free[column], is_text) and plain_name(column) in TEXTS]
    if texts and not {"question", "answer", "messages"} & hinted_names(columns):
        return describe_texts(texts[0], free, shown)
    nearest = nearest_shape(source, columns, mapping, can_read)
    return f"its columns fit no shape; the first row is {shown}; {nearest}"


def describe_row(row: Fields) -> str:
    cells = [f"{column}: {value!r:.{MAX_LENGTH}}" for column, value in list(row.items())[:MAX_SHOWN]]
    return ", ".join([*cells, *([f"and {len(row) - MAX_SHOWN} more"] if len(row) > MAX_SHOWN else [])])


def nearest_shape(source: SourceConfig, columns: Iterable[str], mapping: dict[str, str], can_read: CanRead) -> str:
    """The shape that a mapping is nearest to, and the line that would read the rows so."""
    shapes = [shape for shape in SHAPES if source.shape in (None, shape.name)]
    names = {"question": "question", "answer": "answer"}
    if source.shape in ("alpaca", "completion"):
        names = dict(zip(names, shapes[0].required, strict=True))
    mapping = {names.get(name, name): column for name, column in mapping.items()}
    own = {column: column for column in columns}
    general = [shape for shape in shapes if shape.fits is accept_any or own.keys() & set(shape.required)] or shapes
    nearest = max(general, key=lambda shape: len(mapping.keys() & set(shape.required)) / len(shape.required))
    if not mapping.keys() & set(nearest.required):
        by_name = max(general, key=lambda shape: (name_share(shape, own), len(own.keys() & set(shape.optional))))
        if name_share(by_name, own) >= MIN_SHARE:
            nearest, mapping = by_name, {name: own[name] for name in by_name.required if name in own}
    needs = f"the nearest shape is {nearest.name}: {', '.join(nearest.required)}"
    if missing := [name for name in nearest.required if name not in mapping]:
        return f"{needs}; it has no {' and no '.join(missing)}: name the column with `fields`, or add it to the file"
    known = {name: column for name, column in mapping.items() if name in column_names(nearest)}
    useless = "".join(
        f", without {name}, which that shape does not read" for name in source.fields if name not in known
    )
    if not can_read(known):
        return f"{needs}; no `fields` would read it so: write its rows in one of the shapes of docs/data.md"
    return f"{needs}; beside the path, `fields: {write_mapping(known)}` would read it so{useless}"


def name_share(shape: Shape, columns: Collection[str]) -> float:
    """Which part of the columns that a shape must have is there by name."""
    return len(set(columns) & set(shape.required)) / len(shape.required)


def hinted_names(columns: Iterable[str]) -> set[str]:
    return {name for column in columns if (name := hinted_name(column))}


def hinted_name(column: str) -> str | None:
    """What a column may hold, by a part of its name."""
    plain = plain_name(column)
    if plain in ("q", "a", "messages"):
        return {"q": "question", "a": "answer", "messages": "messages"}[plain]
    return next((name for name, hints in HINTS.items() if any(hint in plain for hint in hints.split())), None)


def guess_mapping(values: dict[str, list[Any]]) -> dict[str, str]:
    """Our names for columns that may hold them: by their names, else the first text asks and the last one replies."""
    chat = next((column for column in values if values[column] and mostly(values[column], is_spoken)
                 and "history" not in plain_name(column)), None)  # fmt: skip
    if chat is not None:
        return {"messages": chat}
    texts = [column for column in values if mostly(values[column], is_text) and not ID_NAME.search(column)]
    mapping: dict[str, str] = {}
    for column in texts:
        name = hinted_name(column)
        if name is not None and name != "messages" and (name != "input" or mostly(values[column], has_words)):
            mapping.setdefault(name, column)
    unnamed = [column for column in texts if values[column] and column not in mapping.values()]
    free = [column for column in unnamed if mostly(values[column], lambda value: isinstance(value, str))]
    spoken = [column for column in free if mostly(values[column], has_words)]
    if not spoken and len(values) <= MAX_WORDLESS:
        spoken = free
    if {"chosen", "rejected"} <= mapping.keys():
        prompt = mapping.pop("question", spoken[0] if spoken else None)
        mapping.pop("answer", None)
        return ({} if prompt is None else {"prompt": prompt}) | mapping
    for name in ("chosen", "rejected"):
        mapping.pop(name, None)
    if "question" not in mapping and spoken:
        mapping["question"] = spoken.pop(0)
    if "question" not in mapping and "input" in mapping:
        mapping["question"] = mapping.pop("input")
    if "answer" not in mapping and spoken:
        mapping["answer"] = spoken.pop()
    if "input" not in mapping and len(spoken) == 1 and mostly(values[spoken[0]], has_words):
        mapping["input"] = spoken[0]
    return {name: mapping[name] for name in ("system", "question", "input", "answer") if name in mapping}


def is_spoken(value: Any) -> bool:
    """Whether a list is a chat of turns or exchanges."""
    turns = fields.read_json(value)
    return is_turns(turns) and all(is_turn(turn) or pair_of(turn) for turn in turns)


def describe_texts(text: str, values: dict[str, list[Any]], shown: str) -> str:
    texts = [column for column in values if mostly(values[column], is_text) and not ID_NAME.search(column)]
    before, after = texts[: texts.index(text)], texts[texts.index(text) + 1 :]
    other = next((column for column in (*after, *reversed(before))), None)
    names = ("answer", "question") if other in before else ("question", "answer")
    mapping = dict(sorted(zip(names, (text, other or ""), strict=True), reverse=True))
    line = f"name both, such as `fields: {write_mapping(mapping)}`, or " if other else ""
    return (
        f"its rows are texts alone (the first is {shown}), with no question and no reply to learn; {line}"
        'write each text as a reply below the prompt that asks for it, as {"prompt": ..., "completion": ...}; plain'
        " text that a small base reads before fine-tuning is for model.tiny.corpus, one paragraph a line"
    )
