"""A conversation out of the fields of one row: a question and its answer, a preference, or a chat of turns."""

from typing import Any, NotRequired, TypedDict

from refrain import rules
from refrain.records import Message
from refrain.rules import Fields, RowError

TURNS = (("role", "content"), ("from", "value"), ("speaker", "text"))
ROLES = {"system": "system", "user": "user", "assistant": "assistant", "human": "user", "gpt": "assistant"}


class Conversation(TypedDict):
    messages: list[Message]
    rejected: NotRequired[str]
    own_id: NotRequired[str]


def pair(question: str, answer: str, row: Fields) -> Conversation:
    """One question, `input` below it after a blank line, and one answer."""
    return {"messages": [asked(question, row), {"role": "assistant", "content": rules.text(row, answer)}]}


def asked(question: str, row: Fields) -> Message:
    below = ["\n\n" + rules.text(row, "input")] if "input" in row else []
    return {"role": "user", "content": "".join([rules.text(row, question), *below])}


def preference(prompt: str, row: Fields) -> Conversation:
    """A prompt, text or turns, with a better and a worse reply to it."""
    listed = isinstance(row.get(prompt), list) and "input" not in row
    messages = turns(row, prompt) if listed else [asked(prompt, row)]
    chosen, rejected = (reply(row, side, messages) for side in ("chosen", "rejected"))
    if chosen == rejected:
        raise RowError("same_reply", "chosen and rejected are the same text")
    return {"messages": [*messages, {"role": "assistant", "content": chosen}], "rejected": rejected}


def reply(row: Fields, side: str, prompt: list[Message]) -> str:
    """The text of a reply that may be given as turns, which may repeat the prompt."""
    if not isinstance(row.get(side), list):
        return rules.text(row, side)
    messages = turns(row, side)
    rest = messages[len(prompt) :] if messages[: len(prompt)] == prompt else messages
    if [message["role"] for message in rest] != ["assistant"]:
        raise RowError("no_reply", f"{side} is not one assistant turn, with or without the prompt before it")
    return rest[0]["content"]


def chat(name: str, row: Fields) -> Conversation:
    return {"messages": turns(row, name)}


def turns(row: Fields, name: str) -> list[Message]:
    """The turns of a chat, whichever of the usual pairs of names they use."""
    if not isinstance(rules.present(row, name), list):
        raise RowError("not_an_object", f"{name} is {rules.kind(row[name])}, not a list of turns")
    return [turn(value, f"turn {number} of {name}") for number, value in enumerate(row[name], start=1)]


def turn(value: Any, place: str) -> Message:
    if not isinstance(value, dict):
        raise RowError("not_an_object", f"{place} is {rules.kind(value)}, not an object with a role and a text")
    speaker, content = next((pair for pair in TURNS if pair[0] in value), TURNS[0])
    role = rules.present(value, speaker, place)
    if not isinstance(role, str) or role.lower() not in ROLES:
        raise RowError("unknown_role", f"{place} has the {speaker} {role!a:.40}, not one of {', '.join(ROLES)}")
    return {"role": ROLES[role.lower()], "content": rules.text(value, content, place)}


def check_order(roles: list[str]) -> None:
    """RowError unless somebody asks and the assistant has the last word."""
    if "system" in roles[1:]:
        raise RowError("wrong_order", "a system turn stands behind another turn")
    if "assistant" not in roles:
        raise RowError("no_reply", "there is no assistant turn")
    if "user" not in roles:
        raise RowError("wrong_order", "there is no user turn")
    if roles[-1] == "user":
        raise RowError("ends_with_user", "the last turn is the user's, and nobody replies")
