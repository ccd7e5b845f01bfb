"""Conversations out of the fields of one row: questions and answers, preferences, and chats of turns."""

from collections.abc import Callable, Iterator
from typing import Any, NotRequired, ParamSpec, TypedDict

from refrain.chat.records import Message, Tool, is_text_alone
from refrain.data.shapes import fields
from refrain.data.shapes.errors import RowError
from refrain.data.shapes.exchanges import expand_exchanges
from refrain.data.shapes.fields import Fields
from refrain.data.shapes.turns import parse_turns, same_turns


class Conversation(TypedDict):
    messages: list[Message]
    rejected: NotRequired[str]
    label: NotRequired[bool]  # whether the last reply is a good one
    own_id: NotRequired[str]
    group: NotRequired[str]  # rows of one group go to one split
    split: NotRequired[str]  # that the row itself names
    tools: NotRequired[list[Tool]]
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
    """One question, `input` below it after a blank line, and one answer; either may be turns."""
    prompt = parse_opening(question, row)
    if isinstance(row.get(question), list):  # what stands in a prompt is read, and not learned
        prompt["messages"] = [unlearned(message) for message in prompt["messages"]]
    prompt["messages"] += parse_answer(row, answer)
    return prompt


def unlearned(message: Message) -> Message:
    return {**message, "train": False} if message["role"] == "assistant" else message


def parse_answer(row: Fields, name: str) -> list[Message]:
    """Turns, a text, or the first of several texts that answer alike."""
    value = row.get(name)
    if not isinstance(value, list) or not value:
        return [parse_text_reply(row, name)]
    if isinstance(value[0], dict):
        return parse_turns(row, name)
    return [parse_text_reply({name: value[0]}, name)]


def parse_opening(prompt: str, row: Fields) -> Conversation:
    """A prompt of text or of turns; nothing goes below turns."""
    has_turns = isinstance(row.get(prompt), list) and "input" not in row
    return {"messages": parse_turns(row, prompt)} if has_turns else parse_prompt(prompt, row)


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
    conversation = parse_opening(prompt, row)
    asked = conversation["messages"]
    (system, chosen), (other_system, rejected) = (parse_reply(row, side, asked) for side in (better, worse))
    if not same_turns(system, other_system):
        raise RowError("other_prompt", f"{better} and {worse} have different system turns")
    conversation["messages"] = [*(system if all(turn["role"] != "system" for turn in asked) else []), *asked, chosen]
    return {**conversation, "rejected": text_alone(rejected, worse)}


def parse_reply(row: Fields, side: str, prompt: list[Message]) -> tuple[list[Message], Message]:
    """A reply, text or turns, which may repeat the prompt, and the system turn that stands before it there."""
    if not isinstance(row.get(side), list | dict):
        return [], parse_text_reply(row, side)
    messages = parse_turns({side: row[side] if isinstance(row[side], list) else [row[side]]}, side)
    system = [message for message in messages[:1] if message["role"] == "system"]
    before, asked = messages[len(system) : -1], [message for message in prompt if message["role"] != "system"]
    if (
        messages[-1:] == system
        or messages[-1]["role"] != "assistant"
        or not (before == [] or same_turns(before, asked))
    ):
        raise RowError("no_reply", f"{side} is not one assistant turn, with or without the prompt before it")
    return system, messages[-1]


def parse_branches(better: str, worse: str, row: Fields) -> Conversation:
    """Two chats that are alike but for their last turns, the better and the worse reply."""
    chosen, rejected = parse_turns(row, better), parse_turns(row, worse)
    for name, side in ((better, chosen), (worse, rejected)):
        if not side or side[-1]["role"] != "assistant":
            raise RowError("no_reply", f"{name} does not end with an assistant turn")
    if not same_turns(chosen[:-1], rejected[:-1]):
        raise RowError("other_prompt", f"{better} and {worse} differ before their last turns")
    return {"messages": chosen, "rejected": text_alone(rejected[-1], worse)}


def text_alone(reply: Message, side: str) -> str:
    """What the worse reply says; RowError when it calls a tool, or has a thought."""
    if not is_text_alone(reply):
        keys = ", ".join(key for key in ("reasoning_content", "tool_calls") if key in reply)
        raise RowError("more_than_text", f"{side} has {keys}; only a worse reply that is a text can be compared")
    return reply["content"]


def has_branches(row: Fields) -> bool:
    """Whether both replies are chats, each with the prompt before it."""
    return all(isinstance(row.get(side), list) for side in ("chosen", "rejected"))


def has_single_replies(prompt: str, row: Fields) -> bool:
    """Whether turns that end with the user's are answered by two single turns, not two chats."""
    replies = [row.get(side) for side in ("chosen", "rejected")]
    if not isinstance(row.get(prompt), list) or not all(isinstance(reply, dict | str) for reply in replies):
        return False
    last_turns = try_parse(parse_chat, prompt, {prompt: row[prompt][-1:]})
    return not isinstance(last_turns, RowError) and [turn["role"] for turn in last_turns["messages"]] == ["user"]


def parse_chat(name: str, row: Fields) -> Conversation:
    """Turns, or exchanges; also as JSON in a text."""
    value = fields.read_json(row[name])
    return {"messages": parse_turns({name: expand_exchanges(value) if isinstance(value, list) else value}, name)}
