"""Conversation to tokens: the one owner of the chat template, of the label mask and of where a reply ends.

Training, evaluation and serving all go through `encode`, so the ids after which a model answers are the ids after
which it was taught to answer. Built on tokenizers and jinja2 alone: no torch.
"""

import json
import re
import shutil
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby, pairwise
from pathlib import Path
from typing import Any, TypedDict

import jinja2
import jinja2.ext
import jinja2.sandbox
from tokenizers import Tokenizer

from refrain.records import Message

IGNORE = -100  # the label that PyTorch's cross-entropy skips
FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "tokenizer.model",
)
BARE: dict[str, dict[str, Any]] = {  # parts of a tokenizer that put a blank before a text, told not to
    "Prepend": {"prepend": ""},
    "Metaspace": {"prepend_scheme": "never"},
    "ByteLevel": {"add_prefix_space": False},
}


class Features(TypedDict):
    input_ids: list[int]
    labels: list[int]


@dataclass(frozen=True)
class Chat:
    """A tokenizer with the template that turns conversations into its text."""

    tokenizer: Tokenizer
    template: str
    tokens: dict[str, str]  # bos_token, eos_token, ... as the template names them

    @cached_property
    def verbatim(self) -> Tokenizer:
        """The same vocabulary for a piece of a text: control tokens are text, and no blank is put before it."""
        shape = json.loads(self.tokenizer.to_str(), object_hook=lambda part: part | BARE.get(str(part.get("type")), {}))
        result = Tokenizer.from_str(json.dumps(shape))
        result.encode_special_tokens = True
        return result

    @cached_property
    def special(self) -> dict[str, int]:
        """Control tokens by their text."""
        added = self.tokenizer.get_added_tokens_decoder()
        return {token.content: number for number, token in added.items() if token.special}

    @cached_property
    def control(self) -> re.Pattern[str]:
        """Any control token in a text."""
        longest_first = sorted(self.special, key=len, reverse=True)
        return re.compile("|".join(map(re.escape, longest_first)) or "(?!)")

    @cached_property
    def compiled(self) -> jinja2.Template:
        """The template, ready to render; ValueError when it is no valid Jinja."""
        try:
            return environment().from_string(self.template)
        except jinja2.TemplateError as error:
            raise ValueError(f"the chat template is not valid Jinja: {error}") from error

    @cached_property
    def marker(self) -> str:
        """What the template puts after a reply; ValueError if nothing, for then no model could learn to stop."""
        ask: list[Message] = [{"role": "user", "content": "a"}]
        opened = render(self, ask, reply=True)
        whole = render(self, [*ask, {"role": "assistant", "content": "Refrain"}])
        marker = whole.removeprefix(opened).rpartition("Refrain")[2].strip()
        if not whole.startswith(opened) or not marker:
            raise ValueError("the chat template puts no end marker after a reply; choose another: template=chatml")
        return marker

    @cached_property
    def ends(self) -> frozenset[int]:
        """Ids that end a reply."""
        first = next((number for text, number in self.special.items() if self.marker.startswith(text)), None)
        eos = self.special.get(self.tokens.get("eos_token", ""))
        return frozenset(number for number in (first, eos) if number is not None)

    @cached_property
    def stops(self) -> tuple[str, ...]:
        """Text that ends a reply, where the template's marker is no single control token."""
        return () if any(self.marker.startswith(text) for text in self.special) else (self.marker,)


def load(folder: Path, jinja: str | None = None) -> Chat:
    """The tokenizer of a model folder with its own template, or with the one given; ValueError if it has none."""
    path = folder / "tokenizer.json"
    if not path.is_file():
        raise ValueError(f"{folder}: there is no tokenizer.json, so this is no model folder")
    settings = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))
    template = jinja or own_template(folder, settings)
    if template is None:
        raise ValueError(f"{folder}: the model has no chat template of its own; choose one: template=chatml")
    tokenizer = Tokenizer.from_file(str(path))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    tokens = {key: value["content"] if isinstance(value, dict) else value for key, value in settings.items()
              if key.endswith("_token") and value is not None and not isinstance(value, bool)}  # fmt: skip
    return Chat(tokenizer, template, tokens)


def own_template(folder: Path, settings: dict[str, Any]) -> str | None:
    """The template in chat_template.jinja, or in tokenizer_config.json."""
    if (file := folder / "chat_template.jinja").is_file():
        return file.read_text(encoding="utf-8")
    own = settings.get("chat_template")
    if isinstance(own, list):
        return next((str(each["template"]) for each in own if each["name"] == "default"), None)
    return own


def copy(source: Path, out: Path, template: str) -> None:
    """Put the tokenizer of `source`, byte for byte, and the template into `out`."""
    for name in FILES:
        if (source / name).is_file():
            shutil.copyfile(source / name, out / name)
    settings = json.loads((out / "tokenizer_config.json").read_text(encoding="utf-8"))
    settings.pop("chat_template", None)
    text = json.dumps(settings, indent=2, sort_keys=True, ensure_ascii=False)
    (out / "tokenizer_config.json").write_text(text + "\n", encoding="utf-8")
    (out / "chat_template.jinja").write_text(template, encoding="utf-8")


def render(chat: Chat, messages: Sequence[Message], reply: bool = False) -> str:
    """The conversation as text; `reply` opens the assistant's turn."""
    try:
        nothing = {"tools": None, "documents": None}  # templates tell None from undefined, as transformers does
        return chat.compiled.render(messages=messages, add_generation_prompt=reply, **nothing, **chat.tokens)
    except jinja2.TemplateError as error:
        roles = ", ".join(message["role"] for message in messages)
        raise ValueError(f"the chat template refuses a conversation of {roles}: {error}") from error


def prompt(chat: Chat, messages: Sequence[Message]) -> list[int]:
    """The ids after which the assistant speaks."""
    text, typed = written(chat, messages, reply=True)
    return [token for token, _ in tokenised(chat, text, typed, edges(chat, messages))]


def features(chat: Chat, messages: Sequence[Message]) -> Features:
    """Ids and labels of equal length: labelled are the assistant's words and the end marker, nothing else.

    ValueError when the template rewrites earlier turns, or when the ids before the last reply are not `prompt`'s.
    """
    text, typed = written(chat, messages)
    spans = replies(chat, messages)
    tokens = tokenised(chat, text, typed, [edge for span in spans for edge in span])
    ids = [token for token, _ in tokens]
    labels = [token if any(a <= at < b for a, b in spans) else IGNORE for token, at in tokens]
    last = max(i for i, message in enumerate(messages) if message["role"] == "assistant")
    asked = prompt(chat, messages[:last])
    if ids[: len(asked)] != asked:
        raise ValueError("the ids before the last reply differ from those the model is asked with")
    return {"input_ids": ids, "labels": labels}


def replies(chat: Chat, messages: Sequence[Message]) -> list[tuple[int, int]]:
    """Character spans of the assistant's words with their end marker."""
    text, spans = written(chat, messages)[0], []
    for i, message in enumerate(messages):
        if message["role"] == "assistant":
            before = written(chat, messages[:i], reply=True)[0]
            after = written(chat, messages[: i + 1])[0]
            if not (after.startswith(before) and text.startswith(after.rstrip())):
                raise ValueError(f"turn {i + 1}: the chat template rewrites earlier turns, so labels have no place; "
                                 "choose another: template=chatml")  # fmt: skip
            spans.append((len(before), after.rindex(chat.marker) + len(chat.marker)))
    return spans


def edges(chat: Chat, messages: Sequence[Message]) -> list[int]:
    """Character positions where a reply begins or ends in a prompt."""
    told = any(message["role"] == "assistant" for message in messages)
    return [edge for span in replies(chat, messages) for edge in span] if told else []


def written(chat: Chat, messages: Sequence[Message], reply: bool = False) -> tuple[str, list[int]]:
    """The rendered text, and the positions of control tokens in it that a person typed."""
    typed = {found for message in messages for found in chat.control.findall(message["content"])}
    if not typed:
        return render(chat, messages, reply), []
    contents = "".join(message["content"] for message in messages)
    free = (char for char in map(chr, range(0xF0000, 0xFFFFE)) if char not in contents)
    marks = dict(zip(typed, free, strict=False))
    masked: list[Message] = [
        {**message, "content": chat.control.sub(lambda found: marks[found[0]], message["content"])}
        for message in messages
    ]
    tokens = {mark: token for token, mark in marks.items()}
    pieces: list[str] = re.split(f"([{''.join(tokens)}])", render(chat, masked, reply))
    text, at = "", []
    for piece in pieces:
        if piece in tokens:
            at.append(len(text))
        text += tokens.get(piece, piece)
    return text, at


def tokenised(chat: Chat, text: str, typed: list[int], borders: list[int]) -> list[tuple[int, int]]:
    """Each token with the character it begins at; typed control tokens stay text, no word straddles a border."""
    own = sorted({found.start() for found in chat.control.finditer(text)} - set(typed))
    encoded = chat.tokenizer.encode(text, add_special_tokens=False)
    tokens = [(token, *span) for token, span in zip(encoded.ids, encoded.offsets, strict=True)]
    result: list[tuple[int, int]] = []
    for is_control, stretch in groupby(tokens, lambda token: within(own, *token[1:])):
        if is_control:
            result += [(token, begin) for token, begin, _ in stretch]
        else:
            result += words(chat, text, list(stretch), typed, borders)
    return result


def words(
    chat: Chat, text: str, tokens: list[tuple[int, int, int]], typed: list[int], borders: list[int]
) -> list[tuple[int, int]]:
    """Tokens between two control tokens, encoded anew where one straddles a border and from a typed one on."""
    edges = sorted([*borders, *(at + 1 for at in typed)])  # a typed token that is cut cannot be found again
    done, result = 0, []
    for token, begin, end in tokens:
        if begin < done:
            continue
        if anew := within(typed, begin, end):
            end = tokens[-1][2]
        cuts = [begin, *(edge for edge in edges if begin < edge < end), end]
        if not anew and len(cuts) == 2:
            result.append((token, begin))
            continue
        for a, b in pairwise(cuts):
            result += [(piece, a) for piece in chat.verbatim.encode(text[a:b], add_special_tokens=False).ids]
        done = end
    return result


def within(positions: list[int], begin: int, end: int) -> bool:
    """Whether any of the sorted positions lies in [begin, end)."""
    return bisect_left(positions, begin) < bisect_left(positions, end)


def environment() -> jinja2.sandbox.ImmutableSandboxedEnvironment:
    """What chat templates expect to run in; no clock, so that a text never depends on the day."""
    result = jinja2.sandbox.ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[jinja2.ext.loopcontrols, Generation]
    )
    result.filters["tojson"] = lambda value, indent=None: json.dumps(value, ensure_ascii=False, indent=indent)
    result.globals["raise_exception"] = refuse
    return result


def refuse(message: str) -> None:
    raise jinja2.TemplateError(message)


class Generation(jinja2.ext.Extension):
    """`{% generation %}` marks the assistant's words in some templates; the words themselves pass through."""

    tags = {"generation"}  # noqa: RUF012 - jinja2's own declaration

    def parse(self, parser: Any) -> Any:
        """The statements between the two tags."""
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)
