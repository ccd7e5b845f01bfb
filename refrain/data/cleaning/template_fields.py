"""Rows with tools, calls and thoughts: kept where the template of the model writes them, and else named."""

import json
from collections import Counter

from refrain.chat import encoding, examples, tool_form
from refrain.chat.records import Message, Row, is_learned, is_text_alone
from refrain.chat.written_fields import TemplateFields
from refrain.data.cleaning import policies
from refrain.data.shapes.conversations import Conversation, ParseResult
from refrain.data.shapes.errors import RowError
from refrain.pipeline.schema import Policies

WAY_OUT = "choose a template that writes it, or take it out of the file"


def is_plain(row: Row | Conversation) -> bool:
    """Whether any template writes all of a row."""
    return "tools" not in row and all(map(is_text_alone, row["messages"]))


def split_replies(fields: TemplateFields, result: ParseResult, wanted: Policies) -> list[ParseResult]:
    """A conversation and, as others of one group, its beginnings that end with replies which it does not teach.

    Such is a reply that the template writes otherwise once a question or a result follows, as with the tools before the
    last question, or without its thought. Each reply is learned in one of them, and context in the others.
    """
    if isinstance(result, RowError) or is_plain(result) or not {"rejected", "label"}.isdisjoint(result):
        return [result]
    if not is_wanted(result, wanted):
        return [result]
    messages, tools = result["messages"], result.get("tools")
    unlearned = {nth for nth, message in enumerate(messages) if is_learned(message)}
    completed = tool_form.complete_calls(fields.tokenizer.tool_form, messages, "")
    if not unlearned or fields.find_fault(completed, tools):
        return [result]
    placed = fields.find_placed_replies(completed, tools)
    if not placed or unlearned <= placed:  # without any the row is refused as a whole
        return [result]
    parts: list[ParseResult] = []
    while unlearned:
        last = max(unlearned)
        beginning = messages[: last + 1] if parts else messages
        learned = {last} | (unlearned & fields.find_placed_replies(completed[: len(beginning)], tools))
        part = result.copy()
        part["messages"] = [message if nth in learned else as_context(message) for nth, message in enumerate(beginning)]
        part.setdefault("group", json.dumps(messages))
        parts.append(part)
        unlearned -= learned
    return parts


def is_wanted(conversation: Conversation, wanted: Policies) -> bool:
    """Whether the policies want a conversation."""
    try:
        policies.apply_policies(conversation, wanted, Counter())
    except RowError:
        return False
    return True


def as_context(message: Message) -> Message:
    """A turn that is not learned."""
    return {**message, "train": False} if is_learned(message) else message


def fit_to_template(fields: TemplateFields, row: Row) -> Row:
    """The row with all that the template needs; RowError when it leaves out something, or takes no such row.

    Of a preference both sides are looked at.
    """
    row = row.copy()
    row["messages"] = tool_form.complete_calls(fields.tokenizer.tool_form, row["messages"], row["id"])
    for messages in examples.list_conversations(row):
        if fault := fields.find_fault(messages, row.get("tools")):
            if fault.is_refusal:
                raise RowError("refused", fault.message)
            raise RowError("more_than_text", f"{fault.message}; {WAY_OUT}")
        try:
            encoding.encode_conversation(fields.tokenizer, messages, row.get("tools"))
        except ValueError as error:
            raise RowError("refused", str(error)) from error
    return row
