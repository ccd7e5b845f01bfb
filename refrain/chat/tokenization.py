"""Text to tokens: control tokens that a person typed stay text, and no token straddles a border."""

import json
import re
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby, pairwise
from operator import itemgetter
from typing import Any

from tokenizers import Tokenizer

from refrain.chat.records import Message, Tool, is_text_alone, list_texts

WITHOUT_PREFIX: dict[str, dict[str, Any]] = {  # parts of a tokenizer that put a blank before a text, told not to
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
        shape = json.loads(
            self.tokenizer.to_str(), object_hook=lambda part: part | WITHOUT_PREFIX.get(str(part.get("type")), {})
        )
        result = Tokenizer.from_str(json.dumps(shape))
        result.encode_special_tokens = True
        return result

    @cached_property
    def special_ids(self) -> dict[str, int]:
        """Control tokens by their text."""
        added = self.tokenizer.get_added_tokens_decoder()
        return {token.content: number for number, token in added.items() if token.special}

    @cached_property
    def control_pattern(self) -> re.Pattern[str]:
        """Any control token in a text."""
        longest_first = sorted(self.special_ids, key=len, reverse=True)
        return re.compile("|".join(map(re.escape, longest_first)) or "(?!)")


Typed = tuple[Sequence[Message], Sequence[Tool] | None]  # all that people or models have written


def hide_control_tokens(
    index: TokenizerIndex, messages: Sequence[Message], tools: Sequence[Tool] | None
) -> tuple[Typed, dict[str, str]]:
    """Both with a private character in place of each control token, and what the characters stand for."""
    is_plain = not tools and all(map(is_text_alone, messages))
    texts = [message["content"] for message in messages] if is_plain else [*list_texts([messages, tools])]
    typed_tokens = {token for text in texts for token in index.control_pattern.findall(text)}
    if not typed_tokens:
        return (messages, tools), {}
    contents = "".join(texts)
    free = (char for char in map(chr, range(0xF0000, 0xFFFFE)) if char not in contents)
    marks = dict(zip(typed_tokens, free, strict=False))
    hidden = replace_texts([list(messages), tools], index.control_pattern, marks)
    return (hidden[0], hidden[1]), {mark: token for token, mark in marks.items()}


def replace_texts(value: Any, pattern: re.Pattern[str], marks: dict[str, str]) -> Any:
    """A value with a mark in place of what the pattern finds in any of its texts."""
    if isinstance(value, str):
        return pattern.sub(lambda match: marks[match[0]], value)
    if isinstance(value, dict):
        return {replace_texts(key, pattern, marks): replace_texts(part, pattern, marks) for key, part in value.items()}
    return [replace_texts(part, pattern, marks) for part in value] if isinstance(value, list) else value


def restore_control_tokens(text: str, marks: dict[str, str]) -> tuple[str, list[int]]:
    """The text with its control tokens back, and the positions of those."""
    if not marks:
        return text, []
    pieces: list[str] = re.split(f"([{''.join(marks)}])", text)
    restored, positions = "", []
    for piece in pieces:
        if piece in marks:
            positions.append(len(restored))
        restored += marks.get(piece, piece)
    return restored, positions


def tokenize(index: TokenizerIndex, text: str, typed: list[int], borders: list[int]) -> list[tuple[int, int]]:
    """Each token with the character it begins at; typed control tokens stay text, none straddles a border.

    Before a border are the tokens of a text that ends there.
    """
    return join_blanks(index, text, tokenize_between(index, text, typed, borders), borders)


def join_blanks(
    index: TokenizerIndex, text: str, tokens: list[tuple[int, int]], borders: list[int]
) -> list[tuple[int, int]]:
    """Blanks before a border as they are at the end of a text: byte-level tokenizers keep one for what follows."""
    for border in borders:
        start = border
        while start and text[start - 1].isspace():
            start -= 1
        first, last = (bisect_left(tokens, at, key=itemgetter(1)) for at in (start, border))
        if border - start > 1 and last - first > 1 and tokens[first][1] == start:
            encoded = index.verbatim.encode(text[start:border], add_special_tokens=False)
            offsets = (start + begin for begin, _ in encoded.offsets)
            tokens = [*tokens[:first], *zip(encoded.ids, offsets, strict=True), *tokens[last:]]
    return tokens


def tokenize_between(index: TokenizerIndex, text: str, typed: list[int], borders: list[int]) -> list[tuple[int, int]]:
    """As `tokenize`, with tokens before a border that may depend on what follows it."""
    encoded = index.tokenizer.encode(text, add_special_tokens=False)
    offsets = encoded.offsets
    if not typed and not any(crosses_border(offsets, border) for border in borders):
        return [(token, begin) for token, (begin, _) in zip(encoded.ids, offsets, strict=True)]
    template_positions = sorted({match.start() for match in index.control_pattern.finditer(text)} - set(typed))
    tokens = [(token, *span) for token, span in zip(encoded.ids, offsets, strict=True)]
    result: list[tuple[int, int]] = []
    for is_control, run in groupby(tokens, lambda token: any_within(template_positions, *token[1:])):
        if is_control:
            result += [(token, begin) for token, begin, _ in run]
        else:
            result += retokenize(index, text, list(run), typed, borders)
    return result


def crosses_border(offsets: list[tuple[int, int]], border: int) -> bool:
    """Whether a token begins before a character and ends behind it."""
    last = bisect_left(offsets, (border, 0))
    return any(begin < border < end for begin, end in offsets[max(0, last - 64) : last])  # some may share characters


def retokenize(
    index: TokenizerIndex, text: str, tokens: list[tuple[int, int, int]], typed: list[int], borders: list[int]
) -> list[tuple[int, int]]:
    """Tokens between two control tokens, encoded anew where one straddles a border and from a typed one on."""
    edges = sorted([*borders, *(at + 1 for at in typed)])  # a typed token that is cut cannot be found again
    end_of_encoded, result = 0, []
    for token, begin, end in tokens:
        if begin < end_of_encoded:
            continue
        if has_typed := any_within(typed, begin, end):
            end = tokens[-1][2]
        cuts = [begin, *edges[bisect_right(edges, begin) : bisect_left(edges, end)], end]
        if not has_typed and len(cuts) == 2:
            result.append((token, begin))
            continue
        while result and result[-1][1] == begin:  # other bytes of the character that it begins in
            result.pop()
        for a, b in pairwise(cuts):
            result += [(piece, a) for piece in index.verbatim.encode(text[a:b], add_special_tokens=False).ids]
        end_of_encoded = end
    return result


def any_within(positions: list[int], begin: int, end: int) -> bool:
    """Whether any of the sorted positions lies in [begin, end)."""
    return bisect_left(positions, begin) < bisect_left(positions, end)
