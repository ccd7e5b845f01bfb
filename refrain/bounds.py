"""At most how many tokens a text can have, from its bytes alone.

A token is one byte of text or more, whatever the merges: what a model does not know becomes one token for a character,
or one for each of its bytes. Three things break that rule and are looked for: normal forms that make a character of
several (never of one that is ASCII), blanks that a tokenizer puts before a text, and control tokens, which are one
token each however long.
"""

import json
import math
from functools import lru_cache
from typing import Any, NamedTuple

from tokenizers import Tokenizer

from refrain import chat, templates
from refrain.chat import Chat
from refrain.records import Message

BLANK = "▁"  # what SentencePiece has for a blank: one token, if it is in the vocabulary
REMOVING = {"Strip", "StripAccents"}
SPLITTING = {"Split", "Digits", "Punctuation", "Whitespace", "WhitespaceSplit", "CharDelimiterSplit", "UnicodeScripts"}
ONLY_ASCII = {"NFC", "NFD", "NFKC", "NFKD", "Lowercase"}  # it is as long afterwards


class Growth(NamedTuple):
    """How a tokenizer may make more tokens of a text than the text has bytes."""

    only_ascii: bool  # the rule holds for no other text
    prefixed: bool  # a blank is put before each text between two control tokens
    whole: bool  # a control token of the template is one token for certain


def most(talk: Chat, messages: list[Message], enough: int = 0) -> float:
    """No fewer than the tokens of a conversation; infinite where no bound is known.

    It may be larger than it need be where it is not above `enough`, which is quicker to find.
    """
    growth = grown(talk.tokenizer)
    plain = growth is not None and not (growth.only_ascii or growth.prefixed)
    if plain and (rough := len(templates.render(talk.template, messages, talk.tokens).encode())) <= enough:
        return rough
    text, typed = chat.written(talk, messages)
    if growth is None or (growth.only_ascii and not text.isascii()):
        return math.inf
    found = [(each.start(), len(each[0].encode()) - 1) for each in talk.vocabulary.control.finditer(text)]
    own = {at for at, _ in found}.difference(typed)
    saved = sum(spare for at, spare in found if at in own) if growth.whole else 0
    return len(text.encode()) - saved + (len(found) + 1) * growth.prefixed


@lru_cache(maxsize=4)
def grown(tokenizer: Tokenizer) -> Growth | None:
    """What a tokenizer does to a text, as far as it is known to keep or to shorten it; None if not."""
    shape = json.loads(tokenizer.to_str())
    parts = [*flat(shape["normalizer"]), *flat(shape["pre_tokenizer"])]
    kinds = {str(part["type"]) for part in parts}
    prefixed = any(part.get("prepend") or part.get("prepend_scheme", "never") != "never" for part in parts)
    plain = [token["content"] for token in shape["added_tokens"] if not token["special"]]
    whole = all(alone(token, plain) for token in shape["added_tokens"] if token["special"])
    if (
        not all(keeps(part, tokenizer) for part in parts)
        or ("ByteLevel" in kinds and shape["model"].get("byte_fallback"))  # a byte is a letter of two bytes there
        or (prefixed and (plain or (len(flat(shape["pre_tokenizer"])) > 1)))
    ):
        return None
    return Growth(bool(kinds & ONLY_ASCII), prefixed, whole)


def flat(part: dict[str, Any] | None) -> list[dict[str, Any]]:
    """The steps of a part of a tokenizer, in their order."""
    if part is None:
        return []
    steps = part.get("normalizers", part.get("pretokenizers"))
    return [part] if steps is None else [each for step in steps for each in flat(step)]


def keeps(part: dict[str, Any], tokenizer: Tokenizer) -> bool:
    """Whether a step makes no more tokens possible than `Growth` says."""
    match part:
        case {"type": "ByteLevel"}:
            return not part.get("add_prefix_space", False)
        case {"type": "Prepend", "prepend": text} | {"type": "Metaspace", "replacement": text}:
            return text == BLANK and tokenizer.token_to_id(BLANK) is not None
        case {"type": "Replace", "pattern": {"String": " "}, "content": text}:
            return text == BLANK and tokenizer.token_to_id(BLANK) is not None
    return part["type"] in REMOVING | SPLITTING | ONLY_ASCII


def alone(token: dict[str, Any], others: list[str]) -> bool:
    """Whether a control token is found wherever it is written: no other added token can take a part of it."""
    text = str(token["content"])
    taken = any(text in each or any(text.startswith(each[i:]) for i in range(1, len(each))) for each in others)
    return not (token["normalized"] or token["single_word"] or taken)
