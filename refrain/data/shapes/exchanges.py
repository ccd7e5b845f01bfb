"""Chats whose parts are exchanges, each a question and its answer in one object, as Firefly and XTuner write them."""

from typing import Any

from refrain.data.shapes import turn_keys
from refrain.data.shapes.fields import Fields

EXCHANGES = (
    ("human", "assistant"),
    ("user", "assistant"),
    ("input", "output"),
    ("question", "answer"),
    ("query", "response"),
    ("prompt", "response"),
)


ROLES = ("user", "assistant")


EXCHANGE_KEYS = frozenset(("system", "output_with_loss", *(name for pair in EXCHANGES for name in pair)))


def pair_of(part: Any) -> tuple[str, str] | None:
    """The names of the question and the answer in an exchange; None if a part is none."""
    if not isinstance(part, dict) or "role" in part or "from" in part:
        return None
    return next((pair for pair in EXCHANGES if pair[0] in part and pair[1] in part), None)


def expand_exchanges(parts: list[Any]) -> list[Any]:
    """Turns in place of exchanges, or of texts alone, of which the user says the first; others stay what they are."""
    if is_dialog(parts):
        return [{"role": ROLES[nth % 2], "content": text} for nth, text in enumerate(parts)]
    turns: list[Any] = []
    for part in parts:
        pair = pair_of(part)
        turns += [part] if pair is None else exchange_turns(part, *pair)
    return turns


def is_dialog(parts: Any) -> bool:
    """Whether a chat is nothing but what its two sides say, in turn."""
    return isinstance(parts, list) and len(parts) > 1 and all(isinstance(part, str) for part in parts)


def exchange_turns(exchange: Fields, question: str, answer: str) -> list[Fields]:
    reply = {"role": "assistant", "content": exchange[answer]}
    if "output_with_loss" in exchange:
        reply["train"] = exchange["output_with_loss"]
    asked = [{"role": "user", "content": exchange[question]}] if turn_keys.says_something(exchange[question]) else []
    system = (
        [{"role": "system", "content": exchange["system"]}] if turn_keys.says_something(exchange.get("system")) else []
    )
    return [*system, *asked, reply]
