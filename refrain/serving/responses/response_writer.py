"""A reply as the items of a response: what is added to them is an event, what they hold in the end the output."""

from typing import Any

from refrain.serving.backends.protocol import Piece
from refrain.serving.responses.response_items import Item, make_id
from refrain.serving.routes.chat_completions import ChoiceWriter

Event = dict[str, Any]
INCOMPLETE = ("length", "timeout", "cancelled")  # reasons to end in the middle


class ResponseWriter:
    """Turns the pieces of one reply into items and events; words alone, or calls behind words that say something."""

    def __init__(self, writer: ChoiceWriter) -> None:
        self.output: list[Item] = []
        self._writer, self._held, self._logprobs = writer, "", list[Any]()
        self._message: Item | None = None

    def push(self, piece: Piece) -> list[Event]:
        """The events of what has come."""
        written = self._writer.write(piece)
        logprobs = written["logprobs"]["content"] if written["logprobs"] else []
        words, calls, is_last = written["words"], written["calls"], piece.finish_reason is not None
        events = []
        if self._message is None:
            self._held, self._logprobs = self._held + words, self._logprobs + logprobs
            if self._held.strip() or (is_last and not calls):
                events += self._open_message()
                events += self._add_words(self._held, self._logprobs)
        else:
            events += self._add_words(words, logprobs)
        if is_last:
            events += self._close_message("incomplete" if piece.finish_reason in INCOMPLETE else "completed")
            for call in calls:
                events += self._add_call(call)
        return events

    def _open_message(self) -> list[Event]:
        part = {"type": "output_text", "text": "", "annotations": [], "logprobs": []}
        self._message = {"id": make_id("msg"), "type": "message", "status": "in_progress", "role": "assistant"}
        self.output.append({**self._message, "content": [part]})
        return [
            {"type": "response.output_item.added", "output_index": 0, "item": {**self._message, "content": []}},
            {"type": "response.content_part.added", **self._place(), "part": dict(part)},
        ]

    def _place(self) -> dict[str, Any]:
        return {"item_id": self.output[0]["id"], "output_index": 0, "content_index": 0}

    def _add_words(self, words: str, logprobs: list[Any]) -> list[Event]:
        if not words and not logprobs:
            return []
        part = self.output[0]["content"][0]
        part["text"] += words
        part["logprobs"] += logprobs
        return [{"type": "response.output_text.delta", **self._place(), "delta": words, "logprobs": logprobs}]

    def _close_message(self, status: str) -> list[Event]:
        if self._message is None:
            return []
        self.output[0]["status"] = status
        part = self.output[0]["content"][0]
        done = {"type": "response.output_text.done", **self._place(), "text": part["text"]}
        return [
            {**done, "logprobs": part["logprobs"]},
            {"type": "response.content_part.done", **self._place(), "part": part},
            {"type": "response.output_item.done", "output_index": 0, "item": self.output[0]},
        ]

    def _add_call(self, call: dict[str, Any]) -> list[Event]:
        arguments, index = call["function"]["arguments"], len(self.output)
        item = {"id": make_id("fc"), "type": "function_call", "status": "completed", "call_id": call["id"],
                "name": call["function"]["name"], "arguments": arguments}  # fmt: skip
        self.output.append(item)
        place = {"item_id": item["id"], "output_index": index}
        begun = {**item, "status": "in_progress", "arguments": ""}
        return [
            {"type": "response.output_item.added", "output_index": index, "item": begun},
            {"type": "response.function_call_arguments.delta", **place, "delta": arguments},
            {"type": "response.function_call_arguments.done", **place, "name": item["name"], "arguments": arguments},
            {"type": "response.output_item.done", "output_index": index, "item": item},
        ]
