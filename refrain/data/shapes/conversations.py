"""Conversations out of the fields of one row: questions and answers, preferences, and chats of turns."""

from collections.abc import Callable, Iterator
from typing import Any, NotRequired, ParamSpec, TypedDict

from refrain.chat.records import Message
from refrain.data.shapes import fields
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
}


class Conversation(TypedDict):
    messages: list[Message]
    rejected: NotRequired[str]
    own_id: NotRequired[str]
    group: NotRequired[str]  # rows of one group go to one split
    input_from: NotRequired[int]  # the character of the last user turn at which an input begins


ParseResult = Conversation | RowError  # what came of one conversation of a row


P = ParamSpec("P")


def try_parse(parse: Callable[P, Conversation], *args: P.args, **kwargs: P.kwargs) -> ParseResult:
    """A conversation, or why there is none: one of several in a row spoils no other."""
    try:
        return parse(*args, **kwargs)
    except RowError as error:
        return error


def parse_question_answer(question: str, answer: str, row: Fields) -> Conversation:
    """One question, `input` below it after a blank line, and one answer."""
    return add_reply(parse_prompt(question, row), fields.require_text(row, answer))


def add_reply(prompt: Conversation, reply: str) -> Conversation:
    prompt["messages"].append({"role": "assistant", "content": reply})
    return prompt


def parse_prompt(question: str, row: Fields) -> Conversation:
    """A prompt of one turn that nobody has answered yet."""
    instruction = fields.require_text(row, question)
    if "input" not in row:
        return {"messages": [{"role": "user", "content": instruction}]}
    content = f"{instruction}\n\n{fields.require_text(row, 'input')}"
    return {"messages": [{"role": "user", "content": content}], "input_from": len(instruction) + 2}


def parse_instances(row: Fields) -> Iterator[ParseResult]:
    """One conversation for each pair of an input and an output below one instruction."""
    instruction = fields.require_text(row, "instruction")
    for number, value in enumerate(fields.require_list(row, "instances"), start=1):
        result = try_parse(parse_instance, instruction, value, f"instance {number}")
        yield result if isinstance(result, RowError) else {**result, "group": instruction}


def parse_instance(instruction: str, value: Any, place: str) -> Conversation:
    present = {name: field for name, field in fields.require_object(value, place).items() if not fields.is_empty(field)}
    if "output" not in present:
        fields.require_text(value, "output", place)
    return parse_question_answer("instruction", "output", {**present, "instruction": instruction})


def parse_preference(prompt: str, better: str, worse: str, row: Fields) -> Conversation:
    """A prompt, text or turns, with a better and a worse reply to it."""
    has_turns = isinstance(row.get(prompt), list) and "input" not in row
    conversation: Conversation = {"messages": parse_turns(row, prompt)} if has_turns else parse_prompt(prompt, row)
    chosen, rejected = (parse_reply(row, side, conversation["messages"]) for side in (better, worse))
    return {**add_reply(conversation, chosen), "rejected": rejected}


def parse_reply(row: Fields, side: str, prompt: list[Message]) -> str:
    """The text of a reply that may be given as turns, which may repeat the prompt."""
    if not isinstance(row.get(side), list):
        return fields.require_text(row, side)
    messages = parse_turns(row, side)
    own_turns = messages[len(prompt) :] if same_turns(messages[: len(prompt)], prompt) else messages
    if [message["role"] for message in own_turns] != ["assistant"]:
        raise RowError("no_reply", f"{side} is not one assistant turn, with or without the prompt before it")
    return own_turns[0]["content"]


def parse_branches(better: str, worse: str, row: Fields) -> Conversation:
    """Two chats that are alike but for their last turns, the better and the worse reply."""
    chosen, rejected = parse_turns(row, better), parse_turns(row, worse)
    for name, side in ((better, chosen), (worse, rejected)):
        if not side or side[-1]["role"] != "assistant":
            raise RowError("no_reply", f"{name} does not end with an assistant turn")
    if not same_turns(chosen[:-1], rejected[:-1]):
        raise RowError("other_prompt", f"{better} and {worse} differ before their last turns")
    return {"messages": chosen, "rejected": rejected[-1]["content"]}


def has_branches(row: Fields) -> bool:
    """Whether both replies are chats, each with the prompt before it."""
    return all(isinstance(row.get(side), list) for side in ("chosen", "rejected"))


def same_turns(first: list[Message], second: list[Message]) -> bool:
    """Whether the same is said by the same, but for white space around it."""
    return [(turn["role"], turn["content"].strip()) for turn in first] == [
        (turn["role"], turn["content"].strip()) for turn in second
    ]


def parse_chat(name: str, row: Fields) -> Conversation:
    return {"messages": parse_turns(row, name)}


def parse_turns(row: Fields, name: str) -> list[Message]:
    """The turns of a chat, empty ones included, whichever of the usual pairs of names they use."""
    return [
        parse_turn(value, f"turn {number} of {name}")
        for number, value in enumerate(fields.require_list(row, name), start=1)
    ]


def parse_turn(value: Any, place: str) -> Message:
    role_name, content_name = next(
        (pair for pair in TURN_FIELDS if pair[0] in fields.require_object(value, place)), TURN_FIELDS[0]
    )
    return {"role": parse_role(value, role_name, place), "content": fields.require_string(value, content_name, place)}


def parse_role(value: Fields, name: str, place: str) -> str:
    speaker = fields.require(value, name, place)
    if not isinstance(speaker, str) or speaker.lower() not in ROLES:
        raise RowError("unknown_role", f"{place} has the {name} {speaker!a:.40}, not one of {', '.join(ROLES)}")
    return ROLES[speaker.lower()]


def last_turn(messages: list[Message], role: str) -> int:
    """The place of the last turn of a role, or -1."""
    return max((nth for nth, message in enumerate(messages) if message["role"] == role), default=-1)
