"""Conversations out of the fields of one row: questions and answers, preferences, and chats of turns."""

import re
from collections.abc import Callable, Iterator
from typing import Any, NotRequired, ParamSpec, TypedDict

from refrain.chat.records import Message, Tool, is_text_alone
from refrain.data.shapes import fields, tool_fields
from refrain.data.shapes.errors import RowError
from refrain.data.shapes.exchanges import expand_exchanges
from refrain.data.shapes.fields import Fields
from refrain.data.shapes.turns import ROLES, SPEAKERS, parse_history, parse_turns, plain_role, same_turns


class Conversation(TypedDict):
    messages: list[Message]
    rejected: NotRequired[str]
    label: NotRequired[bool]  # whether the last reply is a good one
    own_id: NotRequired[str]
    group: NotRequired[str]  # rows of one group go to one split
    split: NotRequired[str]  # that the row itself names
    tools: NotRequired[list[Tool]]
    input_from: NotRequired[int]  # the character of the last user turn at which an input begins


PYTHON_TURNS = re.compile(r"\s*\[\s*\{\s*'(?:role|from|content|value)'\s*:")


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
    if starts_list(row.get(question)) or starts_list(row.get(answer)):
        read = read_cells(row, question, answer)
        if isinstance(read.get(question), list) or ends_with_reply(read.get(answer)):
            row = read  # else an answer in JSON is what was asked for
    prompt = parse_opening(question, row)
    if isinstance(row.get(question), list):  # what stands in a prompt is read, and not learned
        prompt["messages"] = [unlearned(message) for message in prompt["messages"]]
    reply = parse_answer(row, answer)
    if "reasoning_content" in row and reply:
        reply[-1] = {**reply[-1], "reasoning_content": fields.require_text(row, "reasoning_content")}
    prompt["messages"] += reply
    return prompt


def unlearned(message: Message) -> Message:
    return {**message, "train": False} if message["role"] == "assistant" else message


def parse_answer(row: Fields, name: str) -> list[Message]:
    """Turns, calls of the tools of the row, a text, or the first of several texts that answer alike."""
    value = row.get(name)
    if isinstance(value, str) and "tools" not in row:
        return [parse_text_reply(row, name)]
    parts = value if isinstance(value, list) else [value]
    if parts and is_turn(parts[0]):
        return parse_turns({name: parts}, name)
    if calls := tool_fields.parse_call_text(value, row.get("tools")):
        return [{"role": "assistant", "content": "", "tool_calls": calls}]
    return [parse_text_reply({name: first_text(value)} if name in row else row, name)]


def first_text(value: Any) -> Any:
    """The first of several texts, that of an object with aliases, or a truth value as JSON writes it."""
    if isinstance(value, list) and value:
        return first_text(value[0])
    if isinstance(value, dict):
        text = next((value[key] for key in ("value", "text") if key in value), value)
        return first_text(text) if isinstance(text, list) else text
    return str(value).lower() if isinstance(value, bool) else value


def is_turn(value: Any) -> bool:
    return isinstance(value, dict) and any(name in value for name in SPEAKERS)


def starts_list(value: Any) -> bool:
    """Whether a text may be a list in JSON."""
    return isinstance(value, str) and (value[:1] == "[" or (value[:1].isspace() and value.lstrip()[:1] == "["))


def ends_with_reply(value: Any) -> bool:
    """Whether a list of turns ends with the assistant's."""
    last = value[-1] if isinstance(value, list) and value else None
    if not isinstance(last, dict) or not is_turn(last):
        return False
    speaker = next(last[name] for name in SPEAKERS if name in last)
    return isinstance(speaker, str) and ROLES.get(plain_role(speaker)) == "assistant"


def read_cells(row: Fields, *names: str) -> Fields:
    """The row with turns where a cell has them as JSON; RowError where Python has written them."""
    cells = {name: row[name] for name in names if starts_list(row.get(name))}
    read = {}
    for name, cell in cells.items():
        if PYTHON_TURNS.match(cell):
            raise RowError("not_an_object", f"{name} of the row is a list as Python prints it; write it as JSON")
        value = fields.read_json(cell)
        if isinstance(value, list) and value and all(map(is_turn, value)):
            read[name] = value
    return {**row, **read} if read else row


def parse_opening(prompt: str, row: Fields) -> Conversation:
    """A prompt of text, alone or in a list, or of turns; nothing goes below turns."""
    value = row.get(prompt)
    if isinstance(value, list) and len(value) == 1 and isinstance(value[0], str):
        row = {**row, prompt: value[0]}
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


def is_texts(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(part, str) for part in value)


def is_pairs(value: Any) -> bool:
    """Whether a chat is pairs, of a question and its answer or of a role and what it says."""
    return isinstance(value, list) and bool(value) and all(isinstance(pair, list) for pair in value)


def parse_instances(row: Fields) -> Iterator[ParseResult]:
    """One conversation for each pair of an input and an output below one instruction."""
    lines = row["instruction"]
    instruction = fields.require_text({"instruction": "\n".join(lines)} if is_texts(lines) else row, "instruction")
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
    row = read_cells(row, prompt, better, worse)
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
    return all(isinstance(fields.read_json(row.get(side)), list) for side in ("chosen", "rejected"))


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
    if is_pairs(value):
        return {"messages": parse_history({name: value}, name)}
    return {"messages": parse_turns({name: expand_exchanges(value) if isinstance(value, list) else value}, name)}


def parse_answered_chat(name: str, worse: str, row: Fields) -> Conversation:
    """A chat whose last reply is the better one, and the worse one beside it."""
    messages = parse_chat(name, row)["messages"]
    if not messages or messages[-1]["role"] != "assistant":
        raise RowError("no_reply", f"{name} does not end with an assistant turn")
    _, rejected = parse_reply(row, worse, messages[:-1])
    return {"messages": messages, "rejected": text_alone(rejected, worse)}


def repeats_chosen(row: Fields) -> bool:
    """Whether the chat beside a pair is the better one of it."""
    return bool(row["messages"] == row["chosen"])
