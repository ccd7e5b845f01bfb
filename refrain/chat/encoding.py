"""Conversation to tokens: the one owner of the prompt, of the label mask and of where a reply ends.

Evaluation and serving ask with `prompt`, and what training learns from, `features`, is held to it: the ids after which
a model answers are the ids after which it was taught to answer. Built on tokenizers and jinja2 alone: no torch.
"""

import json
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from operator import itemgetter
from pathlib import Path
from typing import TypedDict

from tokenizers import Tokenizer

from refrain.chat import templates, tokenization
from refrain.chat.records import Message
from refrain.chat.tokenization import TokenizerIndex

IGNORE_INDEX = -100  # the label that PyTorch's cross-entropy skips


class Features(TypedDict):
    input_ids: list[int]
    labels: list[int]


@dataclass(frozen=True)
class ChatTokenizer:
    """A tokenizer with the template that turns conversations into its text."""

    tokenizer: Tokenizer
    template: str
    tokens: dict[str, str]  # bos_token, eos_token, ... as the template names them

    @cached_property
    def vocabulary(self) -> TokenizerIndex:
        return TokenizerIndex(self.tokenizer)

    @cached_property
    def marker(self) -> str:
        """What the template puts after a reply; ValueError if nothing, for then no model could learn to stop."""
        return templates.end_marker(self.template, self.tokens)

    @cached_property
    def stop_ids(self) -> frozenset[int]:
        """Ids that end a reply."""
        first = next((number for text, number in self.vocabulary.special.items() if self.marker.startswith(text)), None)
        eos = self.vocabulary.special.get(self.tokens.get("eos_token", ""))
        return frozenset(number for number in (first, eos) if number is not None)

    @cached_property
    def stop_strings(self) -> tuple[str, ...]:
        """Text that ends a reply, where the template's marker is no single control token."""
        return () if any(self.marker.startswith(text) for text in self.vocabulary.special) else (self.marker,)


def load(folder: Path, jinja: str | None = None) -> ChatTokenizer:
    """The tokenizer of a model folder with its own template, or with the one given; ValueError if it has none."""
    path = folder / "tokenizer.json"
    if not path.is_file():
        raise ValueError(f"{folder}: there is no tokenizer.json, so this is no model folder")
    settings = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))
    template = jinja or templates.find_template(folder, settings)
    if template is None:
        raise ValueError(f"{folder}: the model has no chat template of its own; choose one: template=chatml")
    tokenizer = Tokenizer.from_file(str(path))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    named = {key: value["content"] if isinstance(value, dict) else value for key, value in settings.items()
             if key.endswith("_token") and value is not None and not isinstance(value, bool)}  # fmt: skip
    return ChatTokenizer(tokenizer, template, named)


def encode_prompt(chat: ChatTokenizer, messages: Sequence[Message]) -> list[int]:
    """The ids after which the assistant speaks."""
    text, typed = render(chat, messages, reply=True)
    return [token for token, _ in tokenization.tokenize(chat.vocabulary, text, typed, reply_borders(chat, messages))]


def encode_conversation(chat: ChatTokenizer, messages: Sequence[Message]) -> Features:
    """Ids and labels of equal length: labelled are the assistant's words and the end marker, nothing else.

    ValueError when the template rewrites earlier turns, or when the ids before the last reply are not `prompt`'s.
    """
    text, typed = render(chat, messages)
    spans = reply_spans(chat, messages)
    placed = tokenization.tokenize(chat.vocabulary, text, typed, [edge for span in spans for edge in span])
    ids, labels = [token for token, _ in placed], [IGNORE_INDEX] * len(placed)
    for begin, end in spans:
        learned = slice(bisect_left(placed, begin, key=itemgetter(1)), bisect_left(placed, end, key=itemgetter(1)))
        labels[learned] = ids[learned]
    last = max(i for i, message in enumerate(messages) if message["role"] == "assistant")
    asked = encode_prompt(chat, messages[:last])
    if ids[: len(asked)] != asked:
        raise ValueError("the ids before the last reply differ from those the model is asked with")
    return {"input_ids": ids, "labels": labels}


def reply_spans(chat: ChatTokenizer, messages: Sequence[Message]) -> list[tuple[int, int]]:
    """Character spans of the assistant's words with their end marker."""
    text, spans = render(chat, messages)[0], []
    for i, message in enumerate(messages):
        if message["role"] == "assistant":
            before = render(chat, messages[:i], reply=True)[0]
            after = render(chat, messages[: i + 1])[0]
            if not (after.startswith(before) and text.startswith(after.rstrip())):
                raise ValueError(f"turn {i + 1}: the chat template rewrites earlier turns, so labels have no place; "
                                 "choose another: template=chatml")  # fmt: skip
            if (marker := chat.marker) not in after[len(before) :]:
                raise ValueError(f"turn {i + 1}: the chat template puts no end marker after this reply; "
                                 "choose another: template=chatml")  # fmt: skip
            spans.append((len(before), after.rindex(marker) + len(marker)))
    return spans


def reply_borders(chat: ChatTokenizer, messages: Sequence[Message]) -> list[int]:
    """Character positions where a reply begins or ends in a prompt."""
    told = any(message["role"] == "assistant" for message in messages)
    return [edge for span in reply_spans(chat, messages) for edge in span] if told else []


def render(chat: ChatTokenizer, messages: Sequence[Message], reply: bool = False) -> tuple[str, list[int]]:
    """The rendered text, and the positions of control tokens in it that a person typed."""
    masked, marks = tokenization.hide_control_tokens(chat.vocabulary, messages)
    return tokenization.restore_control_tokens(templates.render_template(chat.template, masked, chat.tokens, reply), marks)
