"""Conversation to tokens: the one owner of the prompt, of the label mask and of where a reply ends.

Evaluation and serving ask with `encode_prompt`, and what training learns from, `encode_conversation`, is held to it:
the ids after which a model answers are the ids after which it was taught to answer. Needs tokenizers and jinja2 alone.
"""

import json
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import compress
from operator import itemgetter
from pathlib import Path
from typing import TypedDict

from tokenizers import Tokenizer

from refrain.chat import templates, tokenization
from refrain.chat.records import Message, is_learned
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
    special_tokens: dict[str, str]  # bos_token, eos_token, ... as the template names them

    @cached_property
    def index(self) -> TokenizerIndex:
        return TokenizerIndex(self.tokenizer)

    @cached_property
    def end_marker(self) -> str:
        """What the template puts after a reply; ValueError if nothing, for then no model could learn to stop."""
        return templates.find_end_marker(self.template, self.special_tokens)

    @cached_property
    def stop_ids(self) -> frozenset[int]:
        """Ids that end a reply."""
        special_ids = self.index.special_ids
        first = next((token for text, token in special_ids.items() if self.end_marker.startswith(text)), None)
        eos = special_ids.get(self.special_tokens.get("eos_token", ""))
        return frozenset(token for token in (first, eos) if token is not None)

    @cached_property
    def stop_strings(self) -> tuple[str, ...]:
        """Text that ends a reply, where the template's marker is no single control token."""
        return () if any(self.end_marker.startswith(text) for text in self.index.special_ids) else (self.end_marker,)


def load_tokenizer(folder: Path, chat_template: str | None = None) -> ChatTokenizer:
    """The tokenizer of a model folder with its own template, or with the one given; ValueError if it has none."""
    path = folder / "tokenizer.json"
    if not path.is_file():
        raise ValueError(f"{folder}: there is no tokenizer.json, so this is no model folder")
    settings = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))
    template = chat_template or templates.find_template(folder, settings)
    if template is None:
        raise ValueError(f"{folder}: the model has no chat template of its own; choose one: template=chatml")
    tokenizer = Tokenizer.from_file(str(path))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    special_tokens = {key: value["content"] if isinstance(value, dict) else value for key, value in settings.items()
             if key.endswith("_token") and value is not None and not isinstance(value, bool)}  # fmt: skip
    return ChatTokenizer(tokenizer, template, special_tokens)


@dataclass(frozen=True)
class Beginnings:
    """A conversation and its beginnings as text: each is rendered once, when it is first asked for."""

    tokenizer: ChatTokenizer
    messages: Sequence[Message]
    rendered: dict[tuple[int, bool], tuple[str, list[int]]] = field(default_factory=dict)

    def render(self, turns: int, add_generation_prompt: bool = False) -> tuple[str, list[int]]:
        """As `render_conversation`, of so many turns."""
        key = turns, add_generation_prompt
        if key not in self.rendered:
            self.rendered[key] = render_conversation(self.tokenizer, self.messages[:turns], add_generation_prompt)
        return self.rendered[key]


def encode_prompt(tokenizer: ChatTokenizer, messages: Sequence[Message]) -> list[int]:
    """The ids after which the assistant speaks."""
    return encode_prompt_of(Beginnings(tokenizer, messages), len(messages))


def encode_prompt_of(beginnings: Beginnings, turns: int) -> list[int]:
    """The ids after which the assistant speaks behind so many turns."""
    text, typed = beginnings.render(turns, add_generation_prompt=True)
    has_replies = any(message["role"] == "assistant" for message in beginnings.messages[:turns])
    spans = find_reply_spans(beginnings, turns) if has_replies else []
    return [token for token, _ in tokenize_with_spans(beginnings.tokenizer, text, typed, spans)]


def encode_conversation(tokenizer: ChatTokenizer, messages: Sequence[Message]) -> Features:
    """Ids and labels of equal length: labelled are the assistant's words and the end marker, nothing else.

    A reply that is context alone has the ids of any other and no label. ValueError when the template rewrites earlier
    turns, or when the ids before the last reply are not its prompt's.
    """
    beginnings = Beginnings(tokenizer, messages)
    text, typed = beginnings.render(len(messages))
    spans = find_reply_spans(beginnings, len(messages))
    tokens = tokenize_with_spans(tokenizer, text, typed, spans)
    ids, labels = [token for token, _ in tokens], [IGNORE_INDEX] * len(tokens)
    replies = [message for message in messages if message["role"] == "assistant"]
    for begin, end in compress(spans, map(is_learned, replies)):
        span = slice(bisect_left(tokens, begin, key=itemgetter(1)), bisect_left(tokens, end, key=itemgetter(1)))
        labels[span] = ids[span]
    last_reply = max(i for i, message in enumerate(messages) if message["role"] == "assistant")
    prompt_ids = encode_prompt_of(beginnings, last_reply)
    if ids[: len(prompt_ids)] != prompt_ids:
        raise ValueError("the ids before the last reply differ from those the model is asked with")
    return {"input_ids": ids, "labels": labels}


def find_reply_spans(beginnings: Beginnings, turns: int) -> list[tuple[int, int]]:
    """Character spans of the assistant's words with their end marker, in a text of so many turns."""
    text, spans = beginnings.render(turns)[0], []
    for i, message in enumerate(beginnings.messages[:turns]):
        if message["role"] == "assistant":
            before = beginnings.render(i, add_generation_prompt=True)[0]
            after = beginnings.render(i + 1)[0]
            if not (after.startswith(before) and text.startswith(after.rstrip())):
                raise ValueError(f"turn {i + 1}: the chat template rewrites earlier turns, so labels have no place; "
                                 "choose another: template=chatml")  # fmt: skip
            if (marker := beginnings.tokenizer.end_marker) not in after[len(before) :]:
                raise ValueError(f"turn {i + 1}: the chat template puts no end marker after this reply; "
                                 "choose another: template=chatml")  # fmt: skip
            spans.append((len(before), after.rindex(marker) + len(marker)))
    return spans


def tokenize_with_spans(
    tokenizer: ChatTokenizer, text: str, typed: list[int], spans: list[tuple[int, int]]
) -> list[tuple[int, int]]:
    """Each token with the character it begins at; none straddles the edge of a span."""
    return tokenization.tokenize(tokenizer.index, text, typed, [edge for span in spans for edge in span])


def render_conversation(
    tokenizer: ChatTokenizer, messages: Sequence[Message], add_generation_prompt: bool = False
) -> tuple[str, list[int]]:
    """The rendered text, and the positions of control tokens in it that a person typed."""
    masked, marks = tokenization.hide_control_tokens(tokenizer.index, messages)
    return tokenization.restore_control_tokens(
        templates.render_template(tokenizer.template, masked, tokenizer.special_tokens, add_generation_prompt), marks
    )
