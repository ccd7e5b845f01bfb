"""What a template writes around the words of a conversation, found by marks in their place.

`encode_conversation` finds the learned part by comparing a conversation with its beginnings. This finds it in another
way, so that a mistake of one is not made by the other.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from refrain.chat import templates
from refrain.chat.encoding import ChatTokenizer
from refrain.chat.records import Message

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


def outline_template(tokenizer: ChatTokenizer, roles: tuple[str, ...]) -> TemplateOutline:
    """Of a conversation of these roles; ValueError when the template refuses it."""
    template, special_tokens, index = tokenizer.template, tokenizer.special_tokens, tokenizer.index
    marks = [chr(FIRST_MARK + i) for i in range(len(roles))]
    messages: list[Message] = [{"role": role, "content": mark} for role, mark in zip(roles, marks, strict=True)]
    text = templates.render_template(template, messages, special_tokens)
    frames = {}
    for i, mark in enumerate(marks):
        if roles[i] == "assistant" and mark in text:
            before = templates.render_template(template, messages[:i], special_tokens, add_generation_prompt=True)
            at = text.rindex(mark)
            if not is_kept(tokenizer, messages, i, text):
                continue
            head = text[len(before) : at] if text.startswith(before) else ""
            frames[i] = head, text[at + 1 : text.find(tokenizer.end_marker, at) + len(tokenizer.end_marker)]
    control_ids = [index.special_ids[token] for token in index.control_pattern.findall(text)]
    return TemplateOutline([i for i, mark in enumerate(marks) if mark not in text], frames, control_ids)


def is_kept(tokenizer: ChatTokenizer, messages: Sequence[Message], turn: int, text: str) -> bool:
    """Whether a reply stands in a conversation's text as it did when it was the last."""
    return text.startswith(render_until(tokenizer, messages, turn).rstrip())


def render_until(tokenizer: ChatTokenizer, messages: Sequence[Message], turn: int) -> str:
    """The text of a conversation that ends with this turn."""
    return templates.render_template(tokenizer.template, messages[: turn + 1], tokenizer.special_tokens)
