"""Conversation to tokens: the one owner of the prompt, of the label mask and of where a reply ends.

Evaluation and serving ask with `encode_prompt`, and what training learns from, `encode_conversation`, is held to it:
the ids after which a model answers are the ids after which it was taught to answer. Needs tokenizers and jinja2 alone.
"""

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import compress
from operator import itemgetter
from pathlib import Path
from typing import TypedDict

from tokenizers import Tokenizer

from refrain.chat import model_folder, special_tokens, templates, tokenization, tool_form
from refrain.chat.records import Message, Row, Tool, is_learned, is_text_alone
from refrain.chat.template_overhead import TemplateOverhead
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
    generation_stop_ids: frozenset[int] = frozenset()  # where the model's own settings end a text

    @cached_property
    def index(self) -> TokenizerIndex:
        return TokenizerIndex(self.tokenizer)

    @cached_property
    def overhead(self) -> TemplateOverhead:
        return TemplateOverhead(self.template, self.special_tokens)

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
        own = self.generation_stop_ids & set(special_ids.values())  # a number that means a word is another model's
        return own | {token for token in (first, eos) if token is not None}

    @cached_property
    def tool_form(self) -> tool_form.ToolForm:
        """In which form the template takes tool calls and thoughts."""
        return tool_form.find_form(self.template, self.special_tokens)

    @cached_property
    def stop_strings(self) -> tuple[str, ...]:
        """Text that ends a reply, where the template's marker does not begin with a control token."""
        text = self.index.control_pattern.split(self.end_marker)[0].rstrip()
        return (text,) if text else ()


def load_tokenizer(folder: Path, chat_template: str | None = None) -> ChatTokenizer:
    """The tokenizer of a model folder with its own template, or with the one given; ValueError if it has none.

    A template that is given begins with the begin token where the tokenizer would put one before any other text.
    """
    tokenizer, names = special_tokens.read_tokenizer(folder), special_tokens.read_special_tokens(folder)
    stop_ids, _ = special_tokens.read_stop_ids(folder)
    template = chat_template or templates.find_template(folder, special_tokens.read_settings(folder))
    if template is None:
        raise ValueError(f"{folder}: the model has no chat template of its own; choose one: template=chatml")
    model_folder.require_rows(folder, tokenizer, template)
    if chat_template and special_tokens.adds_begin_token(folder, tokenizer):
        template = templates.begin_with(names["bos_token"], template, names)
    return ChatTokenizer(tokenizer, template, names, stop_ids)


def require_usable_template(tokenizer: ChatTokenizer) -> None:
    """ValueError when no row at all could be learned with the template."""
    for reason in templates.check_template(tokenizer.template, tokenizer.special_tokens):
        raise ValueError(reason)


def ask_with_opening(tokenizer: ChatTokenizer, rows: Iterable[Row]) -> ChatTokenizer:
    """The tokenizer whose prompts end where the words of a reply begin, behind what its template itself writes there.

    Unless a last reply has something else in that place, such as thoughts of its own: then that is to be learned, and
    the template asks as it does.
    """
    completed = templates.complete_prompt(tokenizer.template, tokenizer.special_tokens)
    if completed == tokenizer.template:
        return tokenizer
    result = replace(tokenizer, template=completed)
    return result if all(is_asked_as_written(result, row) for row in rows) else tokenizer


def is_asked_as_written(tokenizer: ChatTokenizer, row: Row) -> bool:
    """Whether the last reply, and each with a thought, is written as it is asked for; a refusal hinders nothing."""
    messages, tools = row["messages"], row.get("tools")
    try:
        for turn in [i for i, message in enumerate(messages[:-1]) if "reasoning_content" in message] + [-1]:
            beginning = messages[: turn + 1] or messages
            prompt, _ = render_conversation(tokenizer, beginning[:-1], tools, add_generation_prompt=True)
            if not render_conversation(tokenizer, beginning, tools)[0].startswith(prompt):
                return False
    except templates.TemplateRefusalError:
        return True
    return True


@dataclass(frozen=True)
class Beginnings:
    """A conversation and its beginnings as text: each is rendered once, when it is first asked for."""

    tokenizer: ChatTokenizer
    messages: Sequence[Message]
    tools: Sequence[Tool] | None = None
    rendered: dict[tuple[int, bool], tuple[str, list[int]]] = field(default_factory=dict)

    def render(self, turns: int, add_generation_prompt: bool = False) -> tuple[str, list[int]]:
        """As `render_conversation`, of so many turns."""
        key = turns, add_generation_prompt
        if key not in self.rendered:
            beginning = self.messages[:turns]
            self.rendered[key] = render_conversation(self.tokenizer, beginning, self.tools, add_generation_prompt)
        return self.rendered[key]


def encode_prompt(
    tokenizer: ChatTokenizer, messages: Sequence[Message], tools: Sequence[Tool] | None = None
) -> list[int]:
    """The ids after which the assistant speaks, who may call these tools."""
    return encode_prompt_of(Beginnings(tokenizer, messages, tools), len(messages))


def encode_last_prompt(tokenizer: ChatTokenizer, row: Row) -> list[int]:
    """The ids after which the last reply of a row is learned, and asked for."""
    return encode_prompt(tokenizer, row["messages"][:-1], row.get("tools"))


def encode_prompt_of(beginnings: Beginnings, turns: int) -> list[int]:
    """The ids after which the assistant speaks behind so many turns."""
    text, typed = beginnings.render(turns, add_generation_prompt=True)
    has_replies = any(message["role"] == "assistant" for message in beginnings.messages[:turns])
    spans = find_reply_spans(beginnings, turns) if has_replies else []
    return [token for token, _ in tokenize_with_spans(beginnings.tokenizer, text, typed, spans)]


def encode_conversation(
    tokenizer: ChatTokenizer, messages: Sequence[Message], tools: Sequence[Tool] | None = None
) -> Features:
    """Ids and labels of equal length: labelled are the assistant's words, calls and end marker, nothing else.

    Without labels are replies that are context alone, and those that the template rewrites once another turn follows.
    ValueError when it rewrites more than replies, or when the ids before the last reply are not its prompt's.
    """
    beginnings = Beginnings(tokenizer, messages, tools)
    text, typed = beginnings.render(len(messages))
    spans = find_reply_spans(beginnings, len(messages))
    tokens = tokenize_with_spans(tokenizer, text, typed, spans)
    ids, labels = [token for token, _ in tokens], [IGNORE_INDEX] * len(tokens)
    if spans[-1] is None:
        raise ValueError(explain_no_place(beginnings))
    replies = [message for message in messages if message["role"] == "assistant"]
    for begin, end in filter(None, compress(spans, map(is_learned, replies))):
        span = slice(bisect_left(tokens, begin, key=itemgetter(1)), bisect_left(tokens, end, key=itemgetter(1)))
        labels[span] = ids[span]
    last_reply = max(i for i, message in enumerate(messages) if message["role"] == "assistant")
    prompt_ids = encode_prompt_of(beginnings, last_reply)
    if ids[: len(prompt_ids)] != prompt_ids:
        raise ValueError("the ids before the last reply differ from those the model is asked with")
    return {"input_ids": ids, "labels": labels}


def explain_no_place(beginnings: Beginnings) -> str:
    """Why the last reply of a conversation does not stand behind its prompt."""
    turns = max(i for i, message in enumerate(beginnings.messages) if message["role"] == "assistant")
    before, after = beginnings.render(turns, add_generation_prompt=True)[0], beginnings.render(turns + 1)[0]
    if templates.count_shared(before, after) < len(beginnings.render(turns)[0].rstrip()):
        return (f"turn {turns + 1}: the chat template rewrites earlier turns, so labels have no place; "
                f"{templates.OTHER}")  # fmt: skip
    return f"turn {turns + 1}: {templates.describe_other_prompt(before, after)}"


def find_reply_spans(beginnings: Beginnings, turns: int) -> list[tuple[int, int] | None]:
    """Character spans of the assistant's words with their end marker, in a text of so many turns.

    None for a reply that stands there otherwise than it is asked for, as where a template drops earlier thoughts.
    """
    replies = [i for i, message in enumerate(beginnings.messages[:turns]) if message["role"] == "assistant"]
    return [place_reply(beginnings, turns, reply) for reply in replies]


def place_reply(beginnings: Beginnings, turns: int, reply: int) -> tuple[int, int] | None:
    """Where one reply stands, as in `find_reply_spans`; a beginning that is refused cannot be asked for."""
    text = beginnings.render(turns)[0]
    try:
        before, after = beginnings.render(reply, add_generation_prompt=True)[0], beginnings.render(reply + 1)[0]
    except templates.TemplateRefusalError:
        if reply == turns - 1:
            raise
        return None
    if not (after.startswith(before) and text.startswith(after.rstrip())):
        return None
    if (marker := beginnings.tokenizer.end_marker) not in after[len(before) :]:
        raise ValueError(f"turn {reply + 1}: the chat template puts no end marker after this reply; {templates.OTHER}")
    return len(before), after.rindex(marker) + len(marker)


def tokenize_with_spans(
    tokenizer: ChatTokenizer, text: str, typed: list[int], spans: list[tuple[int, int] | None]
) -> list[tuple[int, int]]:
    """Each token with the character it begins at; none straddles the edge of a span."""
    return tokenization.tokenize(tokenizer.index, text, typed, [edge for span in filter(None, spans) for edge in span])


def render_conversation(
    tokenizer: ChatTokenizer,
    messages: Sequence[Message],
    tools: Sequence[Tool] | None = None,
    add_generation_prompt: bool = False,
) -> tuple[str, list[int]]:
    """The rendered text, and the positions of control tokens in it that a person typed."""
    hidden, marks = tokenization.hide_control_tokens(tokenizer.index, messages, tools)
    return tokenization.restore_control_tokens(render_text(tokenizer, *hidden, add_generation_prompt), marks)


def render_text(
    tokenizer: ChatTokenizer,
    messages: Sequence[Message],
    tools: Sequence[Tool] | None = None,
    add_generation_prompt: bool = False,
) -> str:
    """What the template makes of a conversation, whose calls and thoughts it is given in its own form."""
    if not all(map(is_text_alone, messages)):
        messages = tool_form.adapt_messages(tokenizer.tool_form, messages)
    return templates.render_template(
        tokenizer.template, messages, tokenizer.special_tokens, add_generation_prompt, tools
    )
