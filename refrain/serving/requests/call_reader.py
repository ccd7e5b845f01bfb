"""Calls in a reply that grows: its words come out at once, what may be a call when it is whole."""

import json
import secrets
from dataclasses import dataclass, field
from typing import Any

from refrain.generation.tool_calls import CallForm
from refrain.runtime.detokenizer import partial_stop_length


@dataclass
class CallReader:
    """Tells the words of one reply from its calls."""

    form: CallForm
    names: set[str]
    is_single: bool  # only the first call counts
    _held: str = ""
    _has_marker: bool = field(default=False)

    def push(self, text: str, is_last: bool) -> tuple[str, list[dict[str, Any]]]:
        """The words that are certain to be words, and with the last text the calls."""
        self._held += text
        words, marker = "", self.form.marker
        if not self._has_marker:
            at = self._held.find(marker)
            self._has_marker = at >= 0
            waiting = len(self._held) - at if at >= 0 else 0 if is_last else partial_stop_length(self._held, (marker,))
            words, self._held = self._held[: len(self._held) - waiting], self._held[len(self._held) - waiting :]
        if not is_last:
            return words, []
        found = self.form.parse(self._held, self.names)
        if found is None:
            return words + self._held, []
        calls = found.calls[:1] if self.is_single else found.calls
        return words + found.content, [write_call(nth, call) for nth, call in enumerate(calls)]


def write_call(index: int, call: Any) -> dict[str, Any]:
    """A call in OpenAI's form."""
    arguments = json.dumps(call["arguments"], ensure_ascii=False)
    function = {"name": call["name"], "arguments": arguments}
    return {"index": index, "id": f"call_{secrets.token_hex(12)}", "type": "function", "function": function}
