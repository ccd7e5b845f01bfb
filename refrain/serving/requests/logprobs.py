"""Log-probabilities as OpenAI's two formats have them, of tokens whose text is certain."""

import codecs
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from refrain.chat.encoding import ChatTokenizer
from refrain.generation.token_bytes import TokenBytes
from refrain.serving.backends.protocol import Piece, TokenLogprob

LOWEST = -9999.0  # in place of minus infinity, which JSON does not have


class PlacedToken(NamedTuple):
    """A token of a reply, its bytes, and the character that it begins at."""

    logprob: TokenLogprob
    bytes: bytes | None
    begin: int


@dataclass
class TokenPlacer:
    """Releases the tokens of one reply as far as its text is out: what a stop string cuts off has no tokens either."""

    tokenizer: TokenBytes
    waiting: list[PlacedToken] = field(default_factory=list)
    text_length: int = 0  # characters that are out
    placed_length: int = 0  # characters of the tokens so far
    has_begun: bool = False

    def __post_init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def push(self, piece: Piece) -> list[PlacedToken]:
        """The tokens whose text is out with this piece; with the last one all, up to a stop."""
        self.text_length += len(piece.text)
        for each in piece.logprobs:
            self.waiting.append(PlacedToken(each, self._bytes_of(each.id), self.placed_length))
            self.placed_length += len(self._decoder.decode(self.waiting[-1].bytes or b""))
        is_cut, is_last = piece.finish_reason == "stop", piece.finish_reason is not None
        out = [token for token in self.waiting if token.begin < self.text_length or (is_last and not is_cut)]
        self.waiting = [] if is_last else self.waiting[len(out) :]
        return out

    def _bytes_of(self, token: int) -> bytes | None:
        found = self.tokenizer.find(token) if self.has_begun else self.tokenizer.find_first(token)
        self.has_begun = self.has_begun or found is not None
        return found


def token_text(tokenizer: ChatTokenizer, token: int, found: bytes | None) -> str:
    """A token as a text: control tokens by their name, a part of a character as OpenAI writes bytes."""
    if found is None:
        return tokenizer.tokenizer.id_to_token(token) or f"token_id:{token}"
    try:
        return found.decode()
    except UnicodeDecodeError:
        return "bytes:" + "".join(f"\\x{byte:02x}" for byte in found)


@dataclass(frozen=True)
class LogprobFormat:
    """Writes tokens with their log-probabilities."""

    tokenizer: ChatTokenizer
    tokens: TokenBytes

    def chat(self, placed: list[PlacedToken]) -> dict[str, Any]:
        """`logprobs` of /v1/chat/completions."""
        return {"content": [self._chat_token(token) for token in placed], "refusal": None}

    def completion(self, placed: list[PlacedToken], offset: int) -> dict[str, Any]:
        """`logprobs` of /v1/completions; `offset` characters stand before the reply."""
        return {
            "tokens": [self._text(token.logprob.id, token.bytes) for token in placed],
            "token_logprobs": [max(LOWEST, token.logprob.logprob) for token in placed],
            "top_logprobs": [
                {self._text(other, self.tokens.find(other)): value for other, value in token.logprob.top}
                for token in placed
            ],
            "text_offset": [offset + token.begin for token in placed],
        }

    def _chat_token(self, token: PlacedToken) -> dict[str, Any]:
        top = [self._entry(other, value, self.tokens.find(other)) for other, value in token.logprob.top]
        return {**self._entry(token.logprob.id, token.logprob.logprob, token.bytes), "top_logprobs": top}

    def _entry(self, token: int, logprob: float, found: bytes | None) -> dict[str, Any]:
        return {
            "token": self._text(token, found),
            "logprob": max(LOWEST, logprob),
            "bytes": None if found is None else list(found),
        }

    def _text(self, token: int, found: bytes | None) -> str:
        return token_text(self.tokenizer, token, found)
