"""The turns of a chat: who speaks, what is said, and whether it is to be learned."""

from typing import Any

from refrain.chat.records import Message, is_learned, whole_text
from refrain.data.shapes import fields, tool_fields, turn_keys
from refrain.data.shapes.errors import RowError
from refrain.data.shapes.fields import Fields

TURN_FIELDS = (("role", "content"), ("from", "value"), ("speaker", "text"))


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
    values = fields.require_list(row, name)
    messages = [parse_turn(value, f"turn {number} of {name}") for number, value in enumerate(values, start=1)]
    return tool_fields.join_calls(messages, list(map(is_call_alone, values)))


def parse_turn(value: Any, place: str) -> Message:
    """One turn, without a label if it says that it is not to be learned."""
    role_name, content_name = find_names(value, place)
    role = parse_role(value, role_name, place)
    has_more_keys = len(value) > len(TURN_FIELDS[0])
    if has_more_keys:
        turn_keys.refuse_more_than_text(value, place, ROLES, tool_fields.READ_KEYS.get(role, ()))
    if is_call_alone(value):
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
    if isinstance(content, list):
        content = turn_keys.join_parts(content, place)
    return fields.require_string({name: content} if name in value else {}, name, place)


def find_names(value: Any, place: str) -> tuple[str, str]:
    """The names of the speaker and of the text in a turn."""
    return next((pair for pair in TURN_FIELDS if pair[0] in fields.require_object(value, place)), TURN_FIELDS[0])


def is_call_alone(value: Fields) -> bool:
    """Whether the text of a turn is a call, or several, by its role."""
    speaker = value.get(find_names(value, "a turn")[0])
    return isinstance(speaker, str) and speaker.lower() in tool_fields.CALL_ROLES


def parse_history(row: Fields, name: str) -> list[Message]:
    """The turns before a question: pairs of a question and its answer, or turns; also as JSON in a text."""
    value = fields.read_json(row[name])
    parts = fields.require_list({name: value}, name)
    if not all(isinstance(part, list) for part in parts):
        return parse_turns({name: parts}, name)
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
    if not isinstance(speaker, str) or speaker.lower() not in ROLES:
        usual = ", ".join(dict.fromkeys(ROLES.values()))
        raise RowError("unknown_role", f"{place} has the {name} {speaker!a:.40}, not one of {usual} and their like")
    return ROLES[speaker.lower()]


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
