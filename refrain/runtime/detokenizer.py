"""From tokens to text as they come: whole characters, up to the first stop string."""

from collections.abc import Iterable, Iterator, Sequence

from tokenizers import Tokenizer
from tokenizers.decoders import DecodeStream


class Detokenizer:
    """The text of one reply, without special tokens; what may be the beginning of a stop string waits."""

    def __init__(self, tokenizer: Tokenizer, stop_strings: Sequence[str] = ()) -> None:
        self._tokenizer, self._stop_strings = tokenizer, stop_strings
        self._decoder = DecodeStream(skip_special_tokens=True)
        self._pending = ""
        self.has_stopped = False  # a stop string was complete

    def push(self, token: int) -> str:
        """The text that is certain after one more token; none after the end."""
        if self.has_stopped:
            return ""
        self._pending += self._decoder.step(self._tokenizer, token) or ""
        matches = [
            (start + len(stop), start) for stop in self._stop_strings if (start := self._pending.find(stop)) >= 0
        ]
        if matches:
            self.has_stopped = True
            return self._release(min(matches)[1])
        return self._release(len(self._pending) - partial_stop_length(self._pending, self._stop_strings))

    def flush(self) -> str:
        """What waited, now that no token comes."""
        return "" if self.has_stopped else self._release(len(self._pending))

    def _release(self, length: int) -> str:
        ready, self._pending = self._pending[:length], self._pending[length:]
        return ready


def detokenize(tokens: Iterable[int], tokenizer: Tokenizer, stop_strings: Sequence[str] = ()) -> Iterator[str]:
    """Pieces of the text, each as soon as it is certain."""
    detokenizer = Detokenizer(tokenizer, stop_strings)
    for token in tokens:
        if piece := detokenizer.push(token):
            yield piece
        if detokenizer.has_stopped:
            return
    if piece := detokenizer.flush():
        yield piece


def partial_stop_length(text: str, stop_strings: Sequence[str]) -> int:
    """How many of the last characters are the beginning of a stop string."""
    lengths = range(1, min(len(text) + 1, max(map(len, stop_strings), default=0)))
    return max(
        (length for length in lengths if any(stop.startswith(text[-length:]) for stop in stop_strings)), default=0
    )
