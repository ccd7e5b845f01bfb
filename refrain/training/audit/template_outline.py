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
        prompt = find_prompt(tokenizer, messages, i, text) if roles[i] == "assistant" and mark in text else None
        if prompt is not None:
            at = text.rindex(mark)
            frames[i] = (
                text[len(prompt) : at],
                text[at + 1 : text.find(tokenizer.end_marker, at)] + tokenizer.end_marker,
            )
    control_ids = [index.special_ids[token] for token in index.control_pattern.findall(text)]
    return TemplateOutline([i for i, mark in enumerate(marks) if mark not in text], frames, control_ids)


def find_prompt(tokenizer: ChatTokenizer, messages: Sequence[Message], turn: int, text: str) -> str | None:
    """What a reply is asked for with, if it stands behind that in a conversation's text as it did when it was the last.

    The last reply always has one: with another it would be the fault of its conversation.
    """
    template, special_tokens, is_last = tokenizer.template, tokenizer.special_tokens, turn == len(messages) - 1
    try:
        prompt = templates.render_template(template, messages[:turn], special_tokens, add_generation_prompt=True)
        until = templates.render_template(template, messages[: turn + 1], special_tokens)
    except templates.TemplateRefusalError:
        return None
    return prompt if is_last or (text.startswith(prompt) and text.startswith(until.rstrip())) else None
