"""The turns of a chat: who speaks, what is said, and whether it is to be learned."""

from functools import lru_cache
from typing import Any

from refrain.chat.records import Message, is_learned, whole_text
from refrain.data.shapes import fields, tool_fields, turn_keys
from refrain.data.shapes.errors import RowError
from refrain.data.shapes.exchanges import expand_exchanges
from refrain.data.shapes.fields import Fields
from refrain.data.shapes.message_parts import expand_parts

SPEAKERS = ("role", "from", "speaker", "author", "sender")  # names of who speaks in a turn


USUAL_NAMES = (("role", "content"), ("from", "value"), ("speaker", "text"))  # of who speaks, and of what is said


OTHER_CONTENTS = ("content", "value", "text", "message")


ROLES = {
    "system": "system",
    "user": "user",
    "assistant": "assistant",
    "human": "user",
    "gpt": "assistant",
    "prompter": "user",
    "developer": "system",
    **dict.fromkeys(("model", "bot", "chatbot", "chatgpt", "ai"), "assistant"),
    **dict.fromkeys(sorted(tool_fields.TOOL_ROLES), "tool"),
    **dict.fromkeys(sorted(tool_fields.CALL_ROLES), "assistant"),
}


SIDES = ("question", "answer")  # of a pair in a history


def parse_turns(row: Fields, name: str) -> list[Message]:
    """The turns of a chat, empty ones included, whichever of the usual pairs of names they use."""
    values = fields.require_list({name: fields.read_json(row[name])} if name in row else row, name)
    first = int(bool(values) and is_empty_system(values[0]))
    spoken = [
        (part, f"turn {number} of {name}")
        for number, value in enumerate(values[first:], start=first + 1)
        for part in expand_parts(value)
    ]
    messages = [parse_turn(value, place) for value, place in spoken]
    pairs = zip(messages, spoken, strict=True)
    return tool_fields.join_calls(
        messages, ["tool_calls" in turn and is_call_alone(value) for turn, (value, _) in pairs]
    )


def is_empty_system(value: Any) -> bool:
    """Whether a turn is a system prompt of nobody, as files have it that leave none out."""
    if not isinstance(value, dict) or value.get("role", value.get("from")) not in ("system", "developer"):
        return False
    text = value.get(find_names(value, "a turn")[1])
    is_blank = text in ([], {}) or fields.is_empty(text)
    return is_blank and not any(
        turn_keys.says_something(value.get(key)) for key in turn_keys.WRITTEN_KEYS & value.keys()
    )


def parse_turn(value: Any, place: str) -> Message:
    """One turn, without a label if it says that it is not to be learned."""
    role_name, content_name = find_names(value, place)
    role = parse_role(value, role_name, place)
    has_more_keys = len(value) > 2 or content_name not in value
    if has_more_keys:
        turn_keys.refuse_more_than_text(value, place, ROLES, tool_fields.READ_KEYS.get(role, ()))
    if role == "assistant" and is_call_alone(value):
        given = fields.require(value, content_name, place)
        calls = tool_fields.parse_calls(given, f"{content_name} of {place}")
        message: Message = {"role": role, "content": "", "tool_calls": calls}
    else:
        message = {"role": role, "content": parse_content(value, role, content_name, place)}
    if has_more_keys:
        tool_fields.add_tool_fields(message, value, place)
    if has_more_keys and role == "assistant" and not turn_keys.is_to_be_learned(value, place):
        message["train"] = False
    return message


def parse_content(value: Fields, role: str, name: str, place: str) -> str:
    """The text of a turn: parts are joined, what a tool gives back may be JSON, and calls need no words."""
    content = value.get(name)
    if content is None and any(turn_keys.says_something(value.get(key)) for key in tool_fields.CALL_KEYS):
        return ""
    if role == "tool":
        content = tool_fields.parse_result(content)
    if isinstance(content, list) or (isinstance(content, dict) and isinstance(content.get("text"), str)):
        content = turn_keys.join_parts(content if isinstance(content, list) else [content], place)
    return fields.require_string({name: content} if name in value else {}, name, place)


def find_names(value: Any, place: str) -> tuple[str, str]:
    """The names of the speaker and of the text in a turn."""
    turn = fields.require_object(value, place)
    for speaker, content in USUAL_NAMES:
        if speaker in turn and content in turn:
            return speaker, content
    speaker = next((name for name in SPEAKERS if name in turn), SPEAKERS[0])
    usual = dict(USUAL_NAMES).get(speaker, OTHER_CONTENTS[0])
    return speaker, next((name for name in OTHER_CONTENTS if name in turn), usual)


def is_call_alone(value: Fields) -> bool:
    """Whether the text of a turn is a call, or several, by its role."""
    speaker = value.get(find_names(value, "a turn")[0])
    return isinstance(speaker, str) and plain_role(speaker) in tool_fields.CALL_ROLES


def parse_history(row: Fields, name: str) -> list[Message]:
    """The turns before a question: pairs of a question and its answer, or turns; also as JSON in a text."""
    value = fields.read_json(row[name])
    parts = fields.require_list({name: value}, name)
    if not all(isinstance(part, list) for part in parts):
        return parse_turns({name: expand_exchanges(parts)}, name)
    if all(len(part) == len(SIDES) and isinstance(part[0], str) and plain_role(part[0]) in ROLES for part in parts):
        return parse_turns({name: [{"role": role, "content": content} for role, content in parts]}, name)
    return [turn for number, pair in enumerate(parts, start=1) for turn in parse_pair(pair, f"pair {number} of {name}")]


def parse_pair(pair: list[Any], place: str) -> list[Message]:
    if len(pair) != 2:
        raise RowError("not_an_object", f"{place} has {len(pair)} parts, not a question and its answer")
    question, answer = (
        fields.require_string({side: text}, side, place) for side, text in zip(SIDES, pair, strict=True)
    )
    return [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]


def parse_role(value: Fields, name: str, place: str) -> str:
    speaker = fields.require(value, name, place)
    role = (ROLES.get(speaker) or ROLES.get(plain_role(speaker))) if isinstance(speaker, str) else None
    if role is None:
        usual = ", ".join(dict.fromkeys(ROLES.values()))
        raise RowError("unknown_role", f"{place} has the {name} {speaker!a:.40}, not one of {usual} and their like")
    return role


@lru_cache(maxsize=1000)
def plain_role(speaker: str) -> str:
    """A role without differences of case and punctuation, so that FUNCTION-CALL is function_call."""
    return speaker.strip().rstrip(":").lower().replace("-", "_").replace(" ", "_")


def last_turn(messages: list[Message], role: str) -> int:
    """The place of the last turn of a role, or -1."""
    return max((nth for nth, message in enumerate(messages) if message["role"] == role), default=-1)


def last_learned_turn(messages: list[Message]) -> int:
    """The place of the last turn that is to be learned, or -1."""
    return max((nth for nth, message in enumerate(messages) if is_learned(message)), default=-1)


def same_turns(first: list[Message], second: list[Message]) -> bool:
    """Whether the same is said and called by the same, but for white space around it."""
    return [(turn["role"], whole_text(turn).strip()) for turn in first] == [
        (turn["role"], whole_text(turn).strip()) for turn in second
    ]
