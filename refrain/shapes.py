"""The shapes of rows: from named fields to a conversation, or to the reason why there is none."""

import re
from collections.abc import Callable, Iterable
from functools import partial
from itertools import islice
from typing import Any, Literal, NamedTuple, NotRequired, TypedDict

from refrain.config import Source
from refrain.files import RawRow
from refrain.records import Message

Reason = Literal[
    "unreadable",  # the file is broken here
    "not_an_object",  # a row or a turn without named fields
    "missing_field",
    "not_text",  # a number, a list or null where text belongs
    "bad_text",  # a NUL, or half of a surrogate pair
    "empty_text",  # nothing but white space
    "unknown_role",  # neither system, user nor assistant
    "wrong_order",  # a system turn that is not the first, or no user turn
    "no_reply",  # no assistant turn
    "ends_with_user",  # the last turn has no reply
    "same_reply",  # chosen and rejected are equal
]
Fields = dict[str, Any]  # a row under our names


class RowError(Exception):
    """Why a row is no conversation, in one sentence."""

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class Conversation(TypedDict):
    messages: list[Message]
    rejected: NotRequired[str]
    own_id: NotRequired[str]


class Shape(NamedTuple):
    """Rows with the columns `needs`, and perhaps more that say something to the assistant."""

    name: str
    needs: tuple[str, ...]
    parse: Callable[[Fields], Conversation]
    uses: tuple[str, ...] = ("system", "id")  # optional columns
    takes: tuple[str, ...] = ("input",)  # optional too, but only when `fields` names the column


def recognised(source: Source, raws: Iterable[RawRow]) -> Shape | None:
    """The one shape that fits the columns of the first rows; None when they have no columns."""
    objects = (raw.value for raw in raws if isinstance(raw.value, dict))
    columns = dict.fromkeys(column for value in islice(objects, 100) for column in value)
    if not columns:
        return None
    check_source(source, columns)
    wanted = [shape for shape in SHAPES if source.shape in (None, shape.name)]
    there = set(columns) - set(source.fields.values()) | set(source.fields)
    fitting = [s for s in wanted if there.issuperset(s.needs) and set(names(s)).issuperset(source.fields)]
    found = dict.fromkeys(shape.name for shape in fitting)
    if len(found) > 1:
        lines = " or ".join(f"`shape: {name}`" for name in found)
        raise ValueError(f"{source.path}: its rows fit several shapes; write in conf/data beside the path {lines}")
    if not found:
        needs = "; ".join(f"{shape.name}: {', '.join(shape.needs)}" for shape in wanted)
        raise ValueError(
            f"{source.path}: its columns ({', '.join(columns)}) fit no shape ({needs}); beside the path,"
            " write which to use, such as `fields: {question: one_column, answer: other_column}`"
        )
    return fitting[0]


def names(shape: Shape) -> tuple[str, ...]:
    return shape.needs + shape.uses + shape.takes


def check_source(source: Source, columns: Iterable[str]) -> None:
    """ValueError when the configuration speaks of a shape, a name or a column that does not exist."""
    shapes = dict.fromkeys(shape.name for shape in SHAPES)
    if source.shape is not None and source.shape not in shapes:
        raise ValueError(f"{source.path}: there is no shape {source.shape}; use one of {', '.join(shapes)}")
    ours = dict.fromkeys(name for shape in SHAPES for name in names(shape))
    for name, column in source.fields.items():
        if name not in ours:
            raise ValueError(f"{source.path}: fields: {name} is none of our names; use one of {', '.join(ours)}")
        if column not in columns:
            raise ValueError(f"{source.path}: fields: {column} is no column; use one of {', '.join(columns)}")


def conversation(raw: RawRow, shape: Shape | None, columns: dict[str, str]) -> Conversation:
    """What a row says, without the white space around each text; RowError when it breaks a rule."""
    if raw.error:
        raise RowError("unreadable", f"the row cannot be read: {raw.error}")
    if not isinstance(raw.value, dict):
        raise RowError("not_an_object", f"the row is {kind(raw.value)}, not an object with named fields")
    if shape is None:
        raise RowError("missing_field", "the row has no fields")
    row = named(raw.value, shape, columns)
    result = shape.parse(row)
    if "system" in row:
        result["messages"].insert(0, {"role": "system", "content": text(row, "system")})
    if isinstance(row.get("id"), str | int):
        result["own_id"] = text({"id": str(row["id"])}, "id")
    check_order([message["role"] for message in result["messages"]])
    return result


def named(value: Fields, shape: Shape, columns: dict[str, str]) -> Fields:
    """The fields that the shape uses, under our names, without optional ones that are empty."""
    own = {*shape.needs, *shape.uses} - set(columns.values())
    used = {name: name for name in own} | columns
    row = {name: value[column] for name, column in used.items() if column in value}
    return {name: field for name, field in row.items() if name in shape.needs or not empty(field)}


def empty(field: Any) -> bool:
    return field is None or (isinstance(field, str) and not field.strip())


def check_order(roles: list[str]) -> None:
    """RowError unless somebody asks and the assistant has the last word."""
    if "system" in roles[1:]:
        raise RowError("wrong_order", "a system turn stands behind another turn")
    if "assistant" not in roles:
        raise RowError("no_reply", "there is no assistant turn")
    if "user" not in roles:
        raise RowError("wrong_order", "there is no user turn")
    if roles[-1] == "user":
        raise RowError("ends_with_user", "the last turn is the user's, and nobody replies")


def pair(question: str, answer: str, row: Fields) -> Conversation:
    """One question, `input` below it after a blank line, and one answer."""
    return {"messages": [asked(question, row), {"role": "assistant", "content": text(row, answer)}]}


def asked(question: str, row: Fields) -> Message:
    below = ["\n\n" + text(row, "input")] if "input" in row else []
    return {"role": "user", "content": "".join([text(row, question), *below])}


def preference(prompt: str, row: Fields) -> Conversation:
    """A prompt, text or turns, with a better and a worse reply to it."""
    listed = isinstance(row.get(prompt), list) and "input" not in row
    messages = turns(row, prompt) if listed else [asked(prompt, row)]
    chosen, rejected = (reply(row, side, messages) for side in ("chosen", "rejected"))
    if chosen == rejected:
        raise RowError("same_reply", "chosen and rejected are the same text")
    return {"messages": [*messages, {"role": "assistant", "content": chosen}], "rejected": rejected}


def reply(row: Fields, side: str, prompt: list[Message]) -> str:
    """The text of a reply that may be given as turns, which may repeat the prompt."""
    if not isinstance(row.get(side), list):
        return text(row, side)
    messages = turns(row, side)
    rest = messages[len(prompt) :] if messages[: len(prompt)] == prompt else messages
    if [message["role"] for message in rest] != ["assistant"]:
        raise RowError("no_reply", f"{side} is not one assistant turn, with or without the prompt before it")
    return rest[0]["content"]


def chat(name: str, row: Fields) -> Conversation:
    return {"messages": turns(row, name)}


def turns(row: Fields, name: str) -> list[Message]:
    """The turns of a chat, whichever of the usual pairs of names they use."""
    if not isinstance(present(row, name), list):
        raise RowError("not_an_object", f"{name} is {kind(row[name])}, not a list of turns")
    return [turn(value, f"turn {number} of {name}") for number, value in enumerate(row[name], start=1)]


def turn(value: Any, place: str) -> Message:
    if not isinstance(value, dict):
        raise RowError("not_an_object", f"{place} is {kind(value)}, not an object with a role and a text")
    speaker, content = next((pair for pair in TURNS if pair[0] in value), TURNS[0])
    role = present(value, speaker, place)
    if not isinstance(role, str) or role.lower() not in ROLES:
        raise RowError("unknown_role", f"{place} has the {speaker} {role!a:.40}, not one of {', '.join(ROLES)}")
    return {"role": ROLES[role.lower()], "content": text(value, content, place)}


def text(row: Fields, name: str, place: str = "the row") -> str:
    """A field that must hold text, without the white space around it."""
    value = present(row, name, place)
    if not isinstance(value, str):
        raise RowError("not_text", f"{name} of {place} is {kind(value)}, not text")
    if BAD.search(value):
        raise RowError("bad_text", f"{name} of {place} holds a NUL or half of a surrogate pair")
    if not value.strip():
        raise RowError("empty_text", f"{name} of {place} is empty")
    return value.strip()


def present(row: Fields, name: str, place: str = "the row") -> Any:
    if name not in row:
        raise RowError("missing_field", f"{place} has no {name}")
    return row[name]


def kind(value: Any) -> str:
    names = {dict: "an object", list: "a list", str: "text", bool: "true or false", type(None): "null"}
    return names.get(type(value), "a number")


BAD = re.compile("[\0\ud800-\udfff]")
TURNS = (("role", "content"), ("from", "value"), ("speaker", "text"))
ROLES = {"system": "system", "user": "user", "assistant": "assistant", "human": "user", "gpt": "assistant"}
WITH_INPUT = ("input", "system", "id")
SHAPES = (
    Shape("messages", ("messages",), partial(chat, "messages"), takes=()),
    Shape("sharegpt", ("conversations",), partial(chat, "conversations"), takes=()),
    Shape("utterances", ("utterances",), partial(chat, "utterances"), takes=()),
    Shape("alpaca", ("instruction", "output"), partial(pair, "instruction", "output"), uses=WITH_INPUT),
    Shape("qa", ("question", "answer"), partial(pair, "question", "answer")),
    Shape("completion", ("prompt", "completion"), partial(pair, "prompt", "completion")),
    Shape("preference", ("prompt", "chosen", "rejected"), partial(preference, "prompt")),
    Shape(
        "preference",
        ("instruction", "chosen", "rejected"),
        partial(preference, "instruction"),
        uses=WITH_INPUT,
    ),
)
