"""How many tokens a row has, and what becomes of one that has too many: whole turns go, never a part of one.

Most rows are known to fit from their bytes alone. A token is one byte of text or more, whatever the merges: what a
model does not know becomes one token for a character, or one for each of its bytes. Three things break that rule and
are looked for: normal forms that make a character of several (never of one that is ASCII), blanks that a tokenizer
puts before a text, and control tokens, which are one token each however long.
"""

import json
import math
from bisect import bisect_right
from collections.abc import Iterator
from functools import lru_cache
from itertools import pairwise
from typing import Any, NamedTuple

from tokenizers import Tokenizer

from refrain.chat import encoding, examples
from refrain.chat.encoding import ChatTokenizer
from refrain.chat.records import Message, Row, Tool, is_learned
from refrain.data.shapes.errors import RowError

BLANK = "▁"  # what SentencePiece has for a blank: one token, if it is in the vocabulary


REMOVING_STEPS = {"Strip", "StripAccents"}


SPLITTING_STEPS = {
    "Split",
    "Digits",
    "Punctuation",
    "Whitespace",
    "WhitespaceSplit",
    "CharDelimiterSplit",
    "UnicodeScripts",
}


ASCII_STEPS = {"NFC", "NFD", "NFKC", "NFKD", "Lowercase"}  # it is as long afterwards


def fit_to_limit(tokenizer: ChatTokenizer, row: Row, limit: int, policy: str) -> tuple[Row, int]:
    """A row of at most `limit` tokens and how many it has; a row that fits comes back itself.

    One that does not is dropped (RowError), fails (ValueError), or is cut by whole turns. A chat loses its last turns,
    so that no reply that stays has lost what it refers to. A preference, and a row with a label, which are about their
    last reply, lose the first ones behind the system's, as `refrain chat` forgets when the context is full.
    """
    size = count_tokens(tokenizer, row, limit)
    if size <= limit:
        return row, size
    or_more = " or more" if count_replies(row["messages"]) > limit else ""
    problem = f"the row has {size} tokens{or_more}, {limit} are allowed"
    if policy == "fail":
        raise ValueError(f"row {row['id']}: {problem}; raise data.max_tokens, "
                         "or set data.policies.overlong to drop or cut")  # fmt: skip
    if policy == "drop":
        raise RowError("overlong", problem)
    versions = list(shorter_versions(row, limit))  # from the shortest
    fitting = bisect_right(versions, limit, key=lambda version: count_tokens(tokenizer, version, limit))
    if not fitting:
        raise RowError("overlong", f"{problem}, and no shorter part of it fits")
    return versions[fitting - 1], count_tokens(tokenizer, versions[fitting - 1], limit)


def shorter_versions(row: Row, limit: int) -> Iterator[Row]:
    """Parts of a conversation that end with a reply, each longer than the one before; no more than may fit."""
    messages = row["messages"]
    roles = [message["role"] for message in messages]
    first_question = roles.index("user")
    if "rejected" in row or "label" in row:
        system = [message for message in messages[:first_question] if message["role"] == "system"]
        starts = [i for i, (before, role) in enumerate(pairwise(roles), 1) if (before, role) == ("assistant", "user")]
        candidates = [[*system, *messages[start:]] for start in starts[: -limit - 1 : -1] if start > first_question]
    else:
        ends = [i for i, message in enumerate(messages, 1) if is_learned(message) and i > first_question]
        candidates = [messages[:end] for end in ends[:-1][:limit]]
    for turns in candidates:
        shorter = row.copy()
        shorter["messages"] = turns
        yield shorter


def count_tokens(tokenizer: ChatTokenizer, row: Row, limit: int) -> int:
    """Of the row, of a preference on its longer side; above `limit` perhaps fewer than there are.

    For each reply has a token at least, its end marker's, and a row of more replies than that needs no counting.
    """
    if count_replies(row["messages"]) > limit:
        return count_replies(row["messages"])
    return max(len(examples.encode_row(tokenizer, row, side)["input_ids"]) for side in examples.list_conversations(row))


def count_replies(messages: list[Message]) -> int:
    return sum(message["role"] == "assistant" for message in messages)


def surely_fits(tokenizer: ChatTokenizer, row: Row, limit: int) -> bool:
    """Whether a row fits for certain, found without the tokenizer; True is always right, False may be a row that fits.

    A row that the template refuses is not certain.
    """
    if sum([len(message["content"]) for message in row["messages"]]) > limit:
        return False
    try:
        return all(
            token_upper_bound(tokenizer, side, limit, row.get("tools")) <= limit
            for side in examples.list_conversations(row)
        )
    except ValueError:  # `fit_to_limit` says it, and of which row
        return False


def token_upper_bound(
    tokenizer: ChatTokenizer, messages: list[Message], enough: int = 0, tools: list[Tool] | None = None
) -> float:
    """No fewer than the tokens of a conversation; infinite where no bound is known.

    It may be larger than it need be where it is not above `enough`, which is quicker to find.
    """
    growth = tokenizer_growth(tokenizer.tokenizer)
    if growth is not None and not (growth.needs_ascii or growth.adds_prefix):
        bound = None if tools else tokenizer.overhead.count_bytes(messages)  # without rendering them
        if bound is not None and bound <= enough:
            return bound
        byte_count = len(encoding.render_text(tokenizer, messages, tools).encode())
        if byte_count <= enough:
            return byte_count
    text, typed = encoding.render_conversation(tokenizer, messages, tools)
    if growth is None or (growth.needs_ascii and not text.isascii()):
        return math.inf
    control_tokens = {match.start(): match[0] for match in tokenizer.index.control_pattern.finditer(text)}
    saved_bytes = 0
    if growth.has_whole_control_tokens:
        saved_bytes = sum(len(control_tokens[at].encode()) - 1 for at in control_tokens.keys() - set(typed))
    return len(text.encode()) - saved_bytes + (len(control_tokens) + 1) * growth.adds_prefix


class TokenizerGrowth(NamedTuple):
    """How a tokenizer may make more tokens of a text than the text has bytes."""

    needs_ascii: bool  # the rule holds for no other text
    adds_prefix: bool  # a blank is put before each text between two control tokens
    has_whole_control_tokens: bool  # a control token of the template is one token for certain


@lru_cache(maxsize=4)
def tokenizer_growth(tokenizer: Tokenizer) -> TokenizerGrowth | None:
    """What a tokenizer does to a text, as far as it is known to keep or to shorten it; None if not."""
    description = json.loads(tokenizer.to_str())
    steps = [*flatten_steps(description["normalizer"]), *flatten_steps(description["pre_tokenizer"])]
    kinds = {str(step["type"]) for step in steps}
    adds_prefix = any(step.get("prepend") or step.get("prepend_scheme", "never") != "never" for step in steps)
    plain_tokens = [token["content"] for token in description["added_tokens"] if not token["special"]]
    has_whole_control_tokens = all(
        is_found_anywhere(token, plain_tokens) for token in description["added_tokens"] if token["special"]
    )
    if (
        not all(keeps_length(step, tokenizer) for step in steps)
        or ("ByteLevel" in kinds and description["model"].get("byte_fallback"))  # a byte is a letter of two bytes there
        or (adds_prefix and (plain_tokens or (len(flatten_steps(description["pre_tokenizer"])) > 1)))
    ):
        return None
    return TokenizerGrowth(bool(kinds & ASCII_STEPS), adds_prefix, has_whole_control_tokens)


def flatten_steps(step: dict[str, Any] | None) -> list[dict[str, Any]]:
    """The steps of a part of a tokenizer, in their order."""
    if step is None:
        return []
    children = step.get("normalizers", step.get("pretokenizers"))
    return [step] if children is None else [leaf for child in children for leaf in flatten_steps(child)]


def keeps_length(step: dict[str, Any], tokenizer: Tokenizer) -> bool:
    """Whether a step makes no more tokens possible than `TokenizerGrowth` says."""
    match step:
        case {"type": "ByteLevel"}:
            return not step.get("add_prefix_space", False)
        case {"type": "Prepend", "prepend": text} | {"type": "Metaspace", "replacement": text}:
            return text == BLANK and tokenizer.token_to_id(BLANK) is not None
        case {"type": "Replace", "pattern": {"String": " "}, "content": text}:
            return text == BLANK and tokenizer.token_to_id(BLANK) is not None
    return step["type"] in REMOVING_STEPS | SPLITTING_STEPS | ASCII_STEPS


def is_found_anywhere(token: dict[str, Any], plain_tokens: list[str]) -> bool:
    """Whether a control token is found wherever it is written: no other added token can take a part of it."""
    text = str(token["content"])
    may_be_split = any(
        text in plain or any(text.startswith(plain[i:]) for i in range(1, len(plain))) for plain in plain_tokens
    )
    return not (token["normalized"] or token["single_word"] or may_be_split)
