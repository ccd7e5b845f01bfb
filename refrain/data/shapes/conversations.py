"""Conversations out of the fields of one row: questions and answers, preferences, and chats of turns."""

from collections.abc import Callable, Iterator
from typing import Any, NotRequired, ParamSpec, TypedDict

from refrain.chat.records import Message
from refrain.data.shapes import fields
from refrain.data.shapes.errors import RowError
from refrain.data.shapes.fields import Fields
from refrain.data.shapes.turns import parse_turns, same_turns


class Conversation(TypedDict):
    messages: list[Message]
    rejected: NotRequired[str]
    label: NotRequired[bool]  # whether the last reply is a good one
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
    prompt = parse_prompt(question, row)
    prompt["messages"].append(parse_text_reply(row, answer))
    return prompt


def parse_text_reply(row: Fields, name: str) -> Message:
    return {"role": "assistant", "content": fields.require_text(row, name)}


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
    conversation["messages"].append(chosen)
    return {**conversation, "rejected": rejected["content"]}


def parse_reply(row: Fields, side: str, prompt: list[Message]) -> Message:
    """A reply, text or turns, which may repeat the prompt."""
    if not isinstance(row.get(side), list):
        return parse_text_reply(row, side)
    messages = parse_turns(row, side)
    own_turns = messages[len(prompt) :] if same_turns(messages[: len(prompt)], prompt) else messages
    if [message["role"] for message in own_turns] != ["assistant"]:
        raise RowError("no_reply", f"{side} is not one assistant turn, with or without the prompt before it")
    return own_turns[0]


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


def parse_chat(name: str, row: Fields) -> Conversation:
    return {"messages": parse_turns(row, name)}
