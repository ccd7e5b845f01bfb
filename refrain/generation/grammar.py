"""Replies that match a JSON schema or a regular expression, whatever the model would rather say."""

import json
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from tokenizers import Tokenizer

from refrain.chat.encoding import ChatTokenizer
from refrain.runtime.language_model import Logits

if TYPE_CHECKING:  # loaded with the first grammar
    from llguidance import LLMatcher, LLTokenizer

# Text without a choice llguidance would tokenize by itself, into blanks and control tokens that it then refuses.
GRAMMAR_OPTIONS = '%llguidance {"no_forcing": true}\n'

DEAD_END = "NoExtensionBias"  # llguidance's word for what no token can follow
TRIED_TOKENS = 8  # after which a grammar that cannot be followed has shown it

# As json.dumps writes, or without the blanks; with more freedom a weak model indents for ever.
SPACING = {"whitespace_flexible": False, "item_separator": ", ?", "key_separator": ": ?"}


class Grammar:
    """What every reply must match, compiled once: a JSON schema, a regular expression or a grammar in Lark's notation.

    Replies end with the stop tokens of the tokenizer; a text marker that a template has in their place is no part.
    """

    def __init__(
        self, tokenizer: ChatTokenizer, schema: dict[str, Any] | None, regex: str | None, lark: str | None = None
    ) -> None:
        from llguidance import LLMatcher

        given = {"JSON schema": schema, "regular expression": regex, "grammar": lark}
        name, *others = [name for name, value in given.items() if value is not None] or ["grammar", "grammar"]
        if others:
            raise ValueError("the grammar: a JSON schema and a regular expression exclude each other; give one")
        rules = lark or (schema_grammar(schema) if schema is not None else regex_grammar(regex or ""))
        self.source = GRAMMAR_OPTIONS + rules
        self.tokens = token_bytes(tokenizer.tokenizer, tokenizer.stop_ids)
        self.initial_state = LLMatcher(self.tokens, self.source, log_level=0)
        self.initial_state.compute_bitmask()
        for state in (self.initial_state, try_tokens(self.initial_state)):
            is_one_of_many = state is not self.initial_state and DEAD_END in state.get_error()  # others may go on
            if state.is_error() and not is_one_of_many:
                raise ValueError(f"the {name}: {describe_error(state)}; write it another way")


def try_tokens(initial_state: "LLMatcher") -> "LLMatcher":
    """The state after some tokens that may follow: what has too many branches can be entered, and not left again."""
    state = initial_state.deep_copy()
    for _ in range(TRIED_TOKENS):
        allowed = np.flatnonzero(np.unpackbits(np.frombuffer(state.compute_bitmask(), np.uint8), bitorder="little"))
        if state.is_error() or state.is_stopped() or not len(allowed) or not state.consume_token(int(allowed[0])):
            break
    return state


class GrammarState:
    """How far one reply has come in its grammar; what sampling.Constraint promises."""

    def __init__(self, grammar: Grammar) -> None:
        self._state, self._tokens = grammar.initial_state.deep_copy(), grammar.tokens

    @property
    def is_finished(self) -> bool:
        """Whether nothing but an end token may follow, or one has come."""
        return self._state.is_stopped()

    def mask(self, logits: Logits) -> Logits:
        """A copy with -inf for what may not follow: an end before the text is whole, a control token at any time."""
        bits = np.frombuffer(self._state.compute_bitmask(), dtype=np.uint8)
        if self._state.is_error():
            raise ValueError(
                f"the reply: no token can follow ({describe_error(self._state)}); write the grammar another way"
            )
        allowed = np.unpackbits(bits, bitorder="little")[: len(logits)].view(np.bool_)
        masked = np.full_like(logits, -np.inf)  # a model may have more logits than its tokenizer has tokens
        np.copyto(masked[: len(allowed)], logits[: len(allowed)], where=allowed)
        return masked

    def draft_tokens(self) -> list[int]:
        """What must follow, as the tokenizer writes it: the model may write the same in other tokens.

        All but the last token, in which more may follow.
        """
        text = self._state.deep_copy().compute_ff_bytes()  # a copy: where it fails, no reply does
        return list(self._tokens.tokenize_bytes(text)[:-1]) if text else []

    def advance(self, token: int) -> None:
        """Go on after a token; ValueError if it may not follow."""
        if not self._state.consume_token(token):
            raise ValueError(
                f"the reply: token {token} may not follow ({describe_error(self._state)}); choose what mask leaves"
            )


def schema_grammar(schema: dict[str, Any]) -> str:
    """The schema as a grammar; properties come in its order."""
    return "start: %json " + json.dumps({**schema, "x-guidance": SPACING}, allow_nan=False)


def regex_grammar(regex: str) -> str:
    """The expression, which the whole reply matches, as a grammar."""
    from llguidance import LLMatcher

    return str(json.loads(LLMatcher.grammar_from_regex(regex))["grammars"][0]["lark_grammar"])


def describe_error(state: "LLMatcher") -> str:
    """What is wrong, in one line of llguidance's many."""
    message = state.get_error().partition("\n   1 | ")[0].rpartition("error: ")[2].rpartition("JSON schema: ")[2]
    return message.splitlines()[0].replace(DEAD_END, "no token of this model fits")


@lru_cache(maxsize=8)  # it takes a second where there are many; a server has some models open
def token_bytes(tokenizer: Tokenizer, stop_ids: frozenset[int]) -> "LLTokenizer":
    """The bytes of every token; ValueError where they cannot be told, or where no token ends a reply."""
    if not stop_ids:
        raise ValueError("the tokenizer: no control token ends a reply, so a grammar cannot either; name an eos_token")
    ids = tokenizer.get_vocab().values()
    if max(ids) >= len(ids):
        raise ValueError(f"the tokenizer: its ids leave gaps up to {max(ids)}; a grammar needs one without")
    from llguidance import LLTokenizer

    try:
        return LLTokenizer(tokenizer.to_str(), eos_token=sorted(stop_ids))
    except ValueError as error:
        raise ValueError(f"the tokenizer: {error}; a grammar needs a byte-level one or byte fallback") from error
