"""What a chat template writes of what stands beside the text of turns: tools, their calls and results, thoughts.

Found by trying it with marked words: for the template as a whole, and for conversations of the same kind as a row's,
since a template may write a call, but not two at once, or not the words before it.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal, NamedTuple

from refrain.chat import encoding, templates, tool_form
from refrain.chat.encoding import ChatTokenizer
from refrain.chat.records import Message, Tool

Kind = tuple[object, ...]  # what conversations have in common that a template takes alike
Field = Literal["tools", "tool_calls", "role tool", "reasoning_content"]
MARK, NO_ROLE = "refrain_mark", "refrain_role"
RESULT: Message = {"role": "tool", "content": MARK, "tool_call_id": "refrain01", "name": tool_form.NAME}
PLAIN: list[Message] = [templates.QUESTION, templates.REPLY]


class Fault(NamedTuple):
    """Why a template does not write a conversation."""

    is_refusal: bool  # else the template leaves something out
    message: str


@dataclass(frozen=True)
class TemplateFields:
    """What the template of a tokenizer writes, each kind of conversation tried once."""

    tokenizer: ChatTokenizer
    faults: dict[Kind, Fault | None] = field(default_factory=dict)
    placed: dict[Kind, frozenset[int]] = field(default_factory=dict)

    @cached_property
    def written(self) -> frozenset[Field]:
        """The fields that the template writes in some conversation at least."""
        return find_written_fields(self.tokenizer)

    def find_fault(self, messages: Sequence[Message], tools: Sequence[Tool] | None) -> Fault | None:
        """Why the template does not write a conversation with tools or thoughts; None if it writes all of it."""
        kind = describe_kind(messages, tools)
        if kind not in self.faults:
            self.faults[kind] = self.find_unwritten_field(messages, tools) or find_fault_of_kind(
                self.tokenizer, messages, tools
            )
        return self.faults[kind]

    def find_placed_replies(self, messages: Sequence[Message], tools: Sequence[Tool] | None) -> frozenset[int]:
        """The replies that stand in a conversation as they are asked for; none where it cannot be learned."""
        kind = describe_kind(messages, tools)
        if kind not in self.placed:
            self.placed[kind] = find_placed_replies_of_kind(self.tokenizer, messages, tools)
        return self.placed[kind]

    def find_unwritten_field(self, messages: Sequence[Message], tools: Sequence[Tool] | None) -> Fault | None:
        """The first field that the template never writes."""
        for place, name in list_fields(messages, tools):
            if name not in self.written:
                return Fault(False, f"{place} has {name}, which the chat template does not write")
        return None


def describe_kind(messages: Sequence[Message], tools: Sequence[Tool] | None) -> Kind:
    kinds = []
    for message in messages:
        calls = tuple(bool(call["function"]["arguments"]) for call in message.get("tool_calls", []))
        kinds.append((message["role"], bool(message["content"]), calls, *(key for key in message)))
    return bool(tools), *kinds


def find_fault_of_kind(
    tokenizer: ChatTokenizer, messages: Sequence[Message], tools: Sequence[Tool] | None
) -> Fault | None:
    """Why a template that writes all of these fields does not write a conversation of this kind."""
    marked, marked_tools, places = mark_words(messages, tools)
    try:
        text = encoding.render_text(tokenizer, marked, marked_tools)
        for mark, (turn, place) in places.items():
            if mark in text:
                continue
            is_thought = place.startswith("reasoning_content")  # it is enough if it stands there while its turn is last
            if not (is_thought and mark in encoding.render_text(tokenizer, marked[: turn + 1], marked_tools)):
                return Fault(False, f"the chat template leaves out {place}")
    except ValueError as error:
        return Fault(True, str(error))
    return None


def find_placed_replies_of_kind(
    tokenizer: ChatTokenizer, messages: Sequence[Message], tools: Sequence[Tool] | None
) -> frozenset[int]:
    marked, marked_tools, _ = mark_words(messages, tools)
    replies = [nth for nth, message in enumerate(messages) if message["role"] == "assistant"]
    try:
        spans = encoding.find_reply_spans(encoding.Beginnings(tokenizer, marked, marked_tools), len(marked))
    except ValueError:
        return frozenset()
    return frozenset(nth for nth, span in zip(replies, spans, strict=True) if span is not None)


def list_fields(messages: Sequence[Message], tools: Sequence[Tool] | None) -> Iterator[tuple[str, Field]]:
    """What of a row not every template writes, with the place where it stands."""
    if tools:
        yield "the row", "tools"
    for nth, message in enumerate(messages, 1):
        if message["role"] == "tool":
            yield f"turn {nth}", "role tool"
        if "tool_calls" in message:
            yield f"turn {nth}", "tool_calls"
        if "reasoning_content" in message:
            yield f"turn {nth}", "reasoning_content"


def mark_words(
    messages: Sequence[Message], tools: Sequence[Tool] | None
) -> tuple[list[Message], list[Tool] | None, dict[str, tuple[int, str]]]:
    """A conversation of the same kind with marks for words, and the turn and the field that each mark stands for."""
    places: dict[str, tuple[int, str]] = {}

    def mark(turn: int, place: str) -> str:
        places[f"{MARK}{len(places)}_"] = turn, place
        return [*places][-1]

    result: list[Message] = []
    for turn, message in enumerate(messages):
        marked = message.copy()
        if message["content"]:
            beside = "beside its tool_calls" if "tool_calls" in message else f"of the role {message['role']}"
            marked["content"] = mark(turn, f"the content of turn {turn + 1}, {beside}")
        if "reasoning_content" in message:
            marked["reasoning_content"] = mark(turn, f"reasoning_content of turn {turn + 1}")
        if "tool_calls" in message:
            place = f"tool_calls of turn {turn + 1}"
            marked["tool_calls"] = [
                {
                    **call,
                    "function": {
                        "name": mark(turn, place),
                        "arguments": {tool_form.KEY: mark(turn, place)} if call["function"]["arguments"] else {},
                    },
                }
                for call in message["tool_calls"]
            ]
        result.append(marked)
    if not tools:
        return result, None, places
    places[tool_form.NAME] = len(messages), "tools of the row"
    return result, [tool_form.TOOL], places


def find_written_fields(tokenizer: ChatTokenizer) -> frozenset[Field]:
    """Which fields a template writes in some conversation at least."""
    form = tokenizer.tool_form

    def render(messages: Sequence[Message], tools: Sequence[Tool] | None = None) -> str:
        adapted = tool_form.adapt_messages(form, messages)
        return tool_form.try_to_render(tokenizer.template, adapted, tokenizer.special_tokens, tools)

    thinking: list[Message] = [templates.QUESTION, {**templates.REPLY, "reasoning_content": MARK}]
    written: list[Field] = []
    if tool_form.NAME in render(PLAIN, [tool_form.TOOL]):
        written.append("tools")
    if tool_form.NAME in render(tool_form.CALLING):
        written.append("tool_calls")
    if MARK in render(thinking):
        written.append("reasoning_content")
    for before in (tool_form.CALLING, PLAIN):
        text = render([*before, RESULT, templates.REPLY])
        other = render([*before, {**RESULT, "role": NO_ROLE}, templates.REPLY])  # written alike: the role is not read
        if MARK in text and text != other:
            written.append("role tool")
    return frozenset(written)
