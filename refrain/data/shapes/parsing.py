"""From a raw row, its columns under our names, to the conversations that are in it."""

from refrain.chat.records import Message
from refrain.data.readers.raw_rows import RawRow
from refrain.data.shapes import fields, tool_fields, turn_keys, turns
from refrain.data.shapes.columns import rename_columns
from refrain.data.shapes.conversations import Conversation, ParseResult
from refrain.data.shapes.errors import RowError
from refrain.data.shapes.fields import Fields
from refrain.data.shapes.layout import Layout
from refrain.data.shapes.split_column import parse_split
from refrain.pipeline.schema import Policies


def parse_row(raw: RawRow, layout: Layout | None, policies: Policies) -> list[ParseResult]:
    """Every conversation of a row, text as it is, or why there is none; never empty, raises no RowError."""
    try:
        row = require_fields(raw, layout)
        extras = row_extras(row, layout) if layout else {"messages": []}
        results = list(layout.shape.parse(row, policies)) if layout else []
    except RowError as error:
        return [error]
    results = results or [RowError("missing_field", "the row holds no conversation")]
    return [with_extras(result, extras) for result in results]


def require_fields(raw: RawRow, layout: Layout | None) -> Fields:
    """The fields of a row under our names, all that the shape needs among them."""
    if raw.error:
        raise RowError("unreadable", f"the row cannot be read: {raw.error}")
    value = fields.require_object(raw.value, "the row")
    if raw.offset is None:  # of a table
        value = tool_fields.drop_unset(value)
    if layout is None:
        raise RowError("missing_field", "the row has no fields")
    required, columns = layout.shape.required, layout.columns
    row = rename_columns(value, required, columns)
    for name in required:
        fields.require(row, name)
    is_chat = any(isinstance(row[name], list) for name in required)
    turn_keys.refuse_columns(value, is_chat, columns.values())
    if tools := tool_fields.parse_tool_columns(value, is_chat, columns.values()):
        row["tools"] = tools
    return row


def row_extras(row: Fields, layout: Layout) -> Conversation:
    """A system turn, the turns before the question, whether the reply is good, the row's own id, group and split."""
    messages: list[Message] = []
    if "system" in row:
        system = row["system"]
        content = turn_keys.join_parts(system, "system of the row") if isinstance(system, list) else system
        messages.append({"role": "system", "content": fields.require_text({"system": content}, "system")})
    if "history" in row and "history" in layout.shape.optional:
        messages += turns.parse_history(row, "history")
    extras: Conversation = {"messages": messages}
    if (label := turn_keys.read_label(row, layout.named)) is not None:
        extras["label"] = label
    if isinstance(row.get("tools"), list):
        extras["tools"] = row["tools"]
    if isinstance(row.get("id"), str | int):
        extras["own_id"] = fields.require_text({"id": str(row["id"])}, "id")
    if "group" in row:
        group, is_number = row["group"], isinstance(row["group"], int | float)
        extras["group"] = fields.require_text({"group": str(group) if is_number else group}, "group")
    if "split" in row:
        extras["split"] = parse_split(row["split"], layout.columns["split"])
    return extras


def with_extras(result: ParseResult, extras: Conversation) -> ParseResult:
    """A conversation and what its row says beside it; a part has its own id, and the group that `fields` names."""
    if isinstance(result, RowError):
        return result
    opening, messages = extras["messages"], result["messages"]
    if opening and opening[0]["role"] == "system" and turns.same_turns(opening[:1], messages[:1]):
        messages = messages[1:]  # the same system turn in a column and in the chat
    conversation: Conversation = {**extras, **result, "messages": [*opening, *messages]}
    if "group" in extras:
        conversation["group"] = extras["group"]
    if "tools" in conversation and tool_fields.lists_tools(conversation["messages"], conversation["tools"]):
        del conversation["tools"]
    return conversation
