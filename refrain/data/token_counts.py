"""How many tokens rows have as training asks for them, and how many of these are learned; counted on all cores."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from itertools import islice
from pathlib import Path
from typing import NamedTuple, cast

from refrain.chat.encoding import IGNORE_INDEX, ChatTokenizer, encode_conversation
from refrain.chat.records import Row, has_bad_reply
from refrain.data.parallel import mapping
from refrain.data.row_preparer import RowPreparer, cached_fields, cached_tokenizer

BATCH_ROWS = 32


class TokenCounts(NamedTuple):
    """Of a row."""

    refused_id: str  # if the template does not take it
    tokens: int
    learned: int | None  # nothing of a bad reply


def count_tokens(texts: Iterator[bytes], preparer: RowPreparer, template: str) -> Iterator[TokenCounts]:
    """Of each of these rows, as they will be written."""
    for counts in mapping.parallel_map(CountTokens(preparer, template), row_batches(texts), preparer.data):
        yield from counts


def row_batches(texts: Iterator[bytes]) -> Iterator[list[bytes]]:
    while batch := list(islice(texts, BATCH_ROWS)):
        yield batch


@dataclass(frozen=True)
class CountTokens:
    """The tokens of some rows, with a template in place of that of the tokenizer."""

    preparer: RowPreparer
    template: str

    def __call__(self, texts: list[bytes]) -> list[TokenCounts]:
        tokenizer = load_tokenizer(cast(Path, self.preparer.base), self.preparer.jinja, self.template)
        return [count_tokens_of_row(tokenizer, json.loads(text)) for text in texts]


@cache
def load_tokenizer(base: Path, jinja: str | None, template: str) -> ChatTokenizer:
    """The tokenizer with a template in place of its own, made once for each process."""
    return replace(cached_tokenizer(base, jinja), template=template)


def forget_tokenizers() -> None:
    """Let no later run in this process have a tokenizer of this one: another base may lie in the same folder."""
    for cached in (cached_tokenizer, cached_fields, load_tokenizer):
        cached.cache_clear()


def count_tokens_of_row(tokenizer: ChatTokenizer, row: Row) -> TokenCounts:
    try:
        labels = encode_conversation(tokenizer, row["messages"], row.get("tools"))["labels"]
    except ValueError:
        return TokenCounts(row["id"], 0, None)
    learned = None if has_bad_reply(row) else sum(label != IGNORE_INDEX for label in labels)
    return TokenCounts("", len(labels), learned)
