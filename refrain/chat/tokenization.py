"""Text to tokens: control tokens that a person typed stay text, and no token straddles a border."""

import json
import re
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby, pairwise
from typing import Any

from tokenizers import Tokenizer

from refrain.chat.records import Message

BARE: dict[str, dict[str, Any]] = {  # parts of a tokenizer that put a blank before a text, told not to
    "Prepend": {"prepend": ""},
    "Metaspace": {"prepend_scheme": "never"},
    "ByteLevel": {"add_prefix_space": False},
}


@dataclass(frozen=True)
class TokenizerIndex:
    """A tokenizer, with what is asked of it for every text."""

    tokenizer: Tokenizer

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


def hide_control_tokens(
    vocabulary: TokenizerIndex, messages: Sequence[Message]
) -> tuple[Sequence[Message], dict[str, str]]:
    """The messages with a private character in place of each control token, and what the characters stand for."""
    typed = {found for message in messages for found in vocabulary.control.findall(message["content"])}
    if not typed:
        return messages, {}
    contents = "".join(message["content"] for message in messages)
    free = (char for char in map(chr, range(0xF0000, 0xFFFFE)) if char not in contents)
    marks = dict(zip(typed, free, strict=False))
    result: list[Message] = [
        {**message, "content": vocabulary.control.sub(lambda found: marks[found[0]], message["content"])}
        for message in messages
    ]
    return result, {mark: token for token, mark in marks.items()}


def restore_control_tokens(text: str, marks: dict[str, str]) -> tuple[str, list[int]]:
    """The text with its control tokens back, and the positions of those."""
    if not marks:
        return text, []
    pieces: list[str] = re.split(f"([{''.join(marks)}])", text)
    whole, at = "", []
    for piece in pieces:
        if piece in marks:
            at.append(len(whole))
        whole += marks.get(piece, piece)
    return whole, at


def tokenize(vocabulary: TokenizerIndex, text: str, typed: list[int], borders: list[int]) -> list[tuple[int, int]]:
    """Each token with the character it begins at; typed control tokens stay text, none straddles a border."""
    encoded = vocabulary.tokenizer.encode(text, add_special_tokens=False)
    offsets = encoded.offsets
    if not typed and not any(crosses_border(offsets, border) for border in borders):
        return [(token, begin) for token, (begin, _) in zip(encoded.ids, offsets, strict=True)]
    own = sorted({found.start() for found in vocabulary.control.finditer(text)} - set(typed))
    tokens = [(token, *span) for token, span in zip(encoded.ids, offsets, strict=True)]
    result: list[tuple[int, int]] = []
    for is_control, stretch in groupby(tokens, lambda token: any_within(own, *token[1:])):
        if is_control:
            result += [(token, begin) for token, begin, _ in stretch]
        else:
            result += retokenize(vocabulary, text, list(stretch), typed, borders)
    return result


def crosses_border(offsets: list[tuple[int, int]], border: int) -> bool:
    """Whether a token begins before a character and ends behind it."""
    last = bisect_left(offsets, (border, 0))
    return any(begin < border < end for begin, end in offsets[max(0, last - 64) : last])  # some may share characters


def retokenize(
    vocabulary: TokenizerIndex, text: str, tokens: list[tuple[int, int, int]], typed: list[int], borders: list[int]
) -> list[tuple[int, int]]:
    """Tokens between two control tokens, encoded anew where one straddles a border and from a typed one on."""
    edges = sorted([*borders, *(at + 1 for at in typed)])  # a typed token that is cut cannot be found again
    done, result = 0, []
    for token, begin, end in tokens:
        if begin < done:
            continue
        if anew := any_within(typed, begin, end):
            end = tokens[-1][2]
        cuts = [begin, *edges[bisect_right(edges, begin) : bisect_left(edges, end)], end]
        if not anew and len(cuts) == 2:
            result.append((token, begin))
            continue
        while result and result[-1][1] == begin:  # other bytes of the character that it begins in
            result.pop()
        for a, b in pairwise(cuts):
            result += [(piece, a) for piece in vocabulary.verbatim.encode(text[a:b], add_special_tokens=False).ids]
        done = end
    return result


def any_within(positions: list[int], begin: int, end: int) -> bool:
    """Whether any of the sorted positions lies in [begin, end)."""
    return bisect_left(positions, begin) < bisect_left(positions, end)
