"""What a template writes around the words of a conversation, found by marks in their place.

`encode_conversation` finds the trained tokens by comparing a conversation with its beginnings. This finds it in another
way, so that a mistake of one is not made by the other.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from refrain.chat import encoding, templates
from refrain.chat.encoding import ChatTokenizer
from refrain.chat.records import Message, Tool

FIRST_MARK = 0x100000  # the last private plane of Unicode


@dataclass(frozen=True)
class TemplateOutline:
    """Of all conversations of the same roles in the same order, as far as a template writes the same around any words.

    `frames` has what is learned before and behind the words of each of the assistant's turns, but for those that are
    written otherwise once another turn follows: they are not learned.
    """

    unwritten: list[int]  # turns of which the template says nothing
    frames: dict[int, tuple[str, str]]
    control_ids: list[int]  # the template's own control tokens


def outline_template(
    tokenizer: ChatTokenizer, messages: Sequence[Message], tools: Sequence[Tool] | None = None
) -> TemplateOutline:
    """Of a conversation with other words, but the same calls; ValueError when the template refuses it."""
    marks = [chr(FIRST_MARK + i) for i in range(len(messages))]
    marked = [mark_words(message, mark) for message, mark in zip(messages, marks, strict=True)]
    text = encoding.render_text(tokenizer, marked, tools)
    frames = {}
    for i, message in enumerate(marked):
        prompt = find_prompt(tokenizer, marked, tools, i, text) if message["role"] == "assistant" else None
        if prompt is not None and message["content"] in text:
            frames[i] = frame_reply(tokenizer, text, prompt, message["content"])
    control_ids = [tokenizer.index.special_ids[token] for token in tokenizer.index.control_pattern.findall(text)]
    unwritten = [i for i, message in enumerate(marked) if message["content"] not in text]
    return TemplateOutline(unwritten, frames, control_ids)


def mark_words(message: Message, mark: str) -> Message:
    """A turn with a mark for words; one that has none beside its calls keeps none."""
    return message if "tool_calls" in message and not message["content"] else {**message, "content": mark}


def frame_reply(tokenizer: ChatTokenizer, text: str, prompt: str, mark: str) -> tuple[str, str]:
    """What is learned before and behind the words of a reply; before them is all of it, where a mark is empty."""
    at = text.rindex(mark) if mark else len(prompt)
    end = text.find(tokenizer.end_marker, at)
    return text[len(prompt) : at], text[at + len(mark) : end] + tokenizer.end_marker


def find_prompt(
    tokenizer: ChatTokenizer, messages: Sequence[Message], tools: Sequence[Tool] | None, turn: int, text: str
) -> str | None:
    """What a reply is asked for with, if it stands behind that in a conversation's text as it did when it was the last.

    The last reply always has one: with another it would be the fault of its conversation.
    """
    is_last = turn == len(messages) - 1
    try:
        prompt = encoding.render_text(tokenizer, messages[:turn], tools, add_generation_prompt=True)
        until = encoding.render_text(tokenizer, messages[: turn + 1], tools)
    except templates.TemplateRefusalError:
        return None
    return prompt if is_last or (text.startswith(prompt) and text.startswith(until.rstrip())) else None
