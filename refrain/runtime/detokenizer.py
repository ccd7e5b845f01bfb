"""From tokens to text as they come: whole characters, up to the first stop string."""

from collections.abc import Iterable, Iterator, Sequence

from tokenizers import Tokenizer
from tokenizers.decoders import DecodeStream


class Detokenizer:
    """The text of one reply, without special tokens; what may be the beginning of a stop string waits."""

    def __init__(self, tokenizer: Tokenizer, stops: Sequence[str] = ()) -> None:
        self._tokenizer, self._stops = tokenizer, stops
        self._decoder = DecodeStream(skip_special_tokens=True)
        self._held = ""
        self.ended = False  # a stop string was complete

    def push(self, token: int) -> str:
        """The text that is certain after one more token; none after the end."""
        if self.ended:
            return ""
        self._held += self._decoder.step(self._tokenizer, token) or ""
        found = [(at + len(stop), at) for stop in self._stops if (at := self._held.find(stop)) >= 0]
        if found:
            self.ended = True
            return self._release(min(found)[1])
        return self._release(len(self._held) - partial_stop_length(self._held, self._stops))

    def flush(self) -> str:
        """What waited, now that no token comes."""
        return "" if self.ended else self._release(len(self._held))

    def _release(self, length: int) -> str:
        ready, self._held = self._held[:length], self._held[length:]
        return ready


def detokenize(tokens: Iterable[int], tokenizer: Tokenizer, stops: Sequence[str] = ()) -> Iterator[str]:
    """Pieces of the text, each as soon as it is certain."""
    words = Detokenizer(tokenizer, stops)
    for token in tokens:
        if piece := words.push(token):
            yield piece
        if words.ended:
            return
    if piece := words.flush():
        yield piece


def partial_stop_length(held: str, stops: Sequence[str]) -> int:
    """How many of the last characters are the beginning of a stop string."""
    lengths = range(1, min(len(held) + 1, max(map(len, stops), default=0)))
    return max((n for n in lengths if any(stop.startswith(held[-n:]) for stop in stops)), default=0)
