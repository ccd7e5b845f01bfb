"""What to write when no shape fits: the first row, the shape that is nearest, and the `fields` that would read it."""

from collections.abc import Iterable
from typing import Any

from refrain.data.shapes import fields, verdicts
from refrain.data.shapes.columns import is_text, is_turns, mostly, plain_name, write_mapping
from refrain.data.shapes.fields import Fields
from refrain.data.shapes.registry import SHAPES
from refrain.data.shapes.shape import accept_any, column_names
from refrain.pipeline.schema import SourceConfig

HINTS = {  # parts of names of columns, for what they may hold
    "chosen": "chosen prefer accepted better winning good",
    "rejected": "reject dispref worse losing bad",
    "answer": "answer antwort respuesta resposta reponse réponse risposta ответ 回答 答案 response reply output target"
    " completion summary translation assistant chatbot solution",
    "question": "question frage pregunta pergunta domanda вопрос 问题 質問 prompt instruction query task user human",
    "input": "input context passage document background article paragraph evidence story kontext",
    "system": "system persona",
}


TEXTS = ("text", "content", "body", "document", "article")  # columns that no question stands beside


MAX_SHOWN, MAX_LENGTH = 12, 40  # columns, and characters of each


def describe_misfit(source: SourceConfig, first_rows: list[Fields], other_rows: Iterable[Fields]) -> str:
    """Why no shape fits, and what to do."""
    columns = dict.fromkeys(column for row in first_rows for column in row)
    if {"message_id", "parent_id", "message_tree_id", "text", "role"}.issubset(columns):
        return (
            "its rows are single messages of trees, which lie apart in the file; name instead the file of trees that is"
            " published beside it (*.trees.jsonl.gz)"
        )
    shown = describe_row(next(row for row in first_rows if row))
    values = {column: [row[column] for row in first_rows if not fields.is_empty(row.get(column))] for column in columns}
    free = {column: kinds for column, kinds in values.items() if column not in source.fields.values()}
    if pair := verdicts.find_pair(free):
        asked = guess_mapping({name: column for name, column in free.items() if mostly(column, verdicts.is_reply)})
        return verdicts.describe_pair(pair, asked, free, [*first_rows, *other_rows])
    mapping = source.fields | guess_mapping(free)
    texts = [column for column in free if mostly(free[column], is_text) and plain_name(column) in TEXTS]
    if texts and not {"question", "answer", "messages"} & hinted_names(columns):
        return describe_texts(texts[0], free, shown)
    return f"its columns fit no shape; the first row is {shown}; {nearest_shape(source, mapping)}"


def describe_row(row: Fields) -> str:
    cells = [f"{column}: {value!r:.{MAX_LENGTH}}" for column, value in list(row.items())[:MAX_SHOWN]]
    return ", ".join([*cells, *([f"and {len(row) - MAX_SHOWN} more"] if len(row) > MAX_SHOWN else [])])


def nearest_shape(source: SourceConfig, mapping: dict[str, str]) -> str:
    """The shape that a mapping is nearest to, and the line that would read the rows so."""
    shapes = [shape for shape in SHAPES if source.shape in (None, shape.name)]
    names = {"question": "question", "answer": "answer"}
    if source.shape in ("alpaca", "completion"):
        names = dict(zip(names, shapes[0].required, strict=True))
    mapping = {names.get(name, name): column for name, column in mapping.items()}
    general = [shape for shape in shapes if shape.fits is accept_any] or shapes
    nearest = max(general, key=lambda shape: len(mapping.keys() & set(shape.required)) / len(shape.required))
    needs = f"the nearest shape is {nearest.name}: {', '.join(nearest.required)}"
    if missing := [name for name in nearest.required if name not in mapping]:
        return f"{needs}; it has no {' and no '.join(missing)}: name the column with `fields`, or add it to the file"
    known = {name: column for name, column in mapping.items() if name in column_names(nearest)}
    useless = "".join(
        f", without {name}, which that shape does not read" for name in source.fields if name not in known
    )
    return f"{needs}; beside the path, `fields: {write_mapping(known)}` would read it so{useless}"


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
    chat = next((column for column in values if values[column] and mostly(values[column], is_turns)), None)
    if chat is not None:
        return {"messages": chat}
    texts = [column for column in values if mostly(values[column], is_text)]
    mapping: dict[str, str] = {}
    for column in texts:
        name = hinted_name(column)
        if name is not None and name != "messages" and (name != "input" or mostly(values[column], has_words)):
            mapping.setdefault(name, column)
    unnamed = [column for column in texts if values[column] and column not in mapping.values()]
    free = [column for column in unnamed if not plain_name(column).endswith("id")]
    spoken = [column for column in free if mostly(values[column], has_words)] or free
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


def has_words(value: Any) -> bool:
    """Whether a text may be said by somebody, and is no number, date, link or name of a class."""
    return isinstance(value, str) and len(value.split()) > 1


def describe_texts(text: str, values: dict[str, list[Any]], shown: str) -> str:
    texts = [column for column in values if mostly(values[column], is_text) and not plain_name(column).endswith("id")]
    before, after = texts[: texts.index(text)], texts[texts.index(text) + 1 :]
    other = next((column for column in (*after, *reversed(before))), "another_column")
    names = ("answer", "question") if other in before else ("question", "answer")
    mapping = write_mapping(dict(sorted(zip(names, (text, other), strict=True), reverse=True)))
    return (
        f"its rows are texts alone (the first is {shown}), with no question and no reply to learn; name both, such as"
        f" `fields: {mapping}`, or write each text as a reply below the prompt that asks for it; plain text that a"
        " small base reads before fine-tuning is for model.tiny.corpus, one paragraph a line"
    )
