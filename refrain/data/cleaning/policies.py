"""What becomes of conversations that are whole but may not be wanted, with every effect counted."""

from collections import Counter
from collections.abc import Callable
from functools import partial
from itertools import pairwise

from refrain.chat.records import Message
from refrain.data.cleaning import pii
from refrain.data.shapes import fields
from refrain.data.shapes.conversations import Conversation
from refrain.data.shapes.errors import RowError
from refrain.pipeline.schema import Policies


def apply_policies(said: Conversation, policies: Policies, effects: Counter[str]) -> Conversation:
    """A conversation as the policies want it, the same object where they change nothing.

    RowError when it is not wanted, or its turns are in no order that somebody can learn from.
    """
    done: set[str] = set()
    said = arrange_turns(rewrite_texts(said, policies, done), policies, done)
    check_order([message["role"] for message in said["messages"]])
    if "rejected" in said:
        check_replies(said["messages"][-1]["content"], said["rejected"])
    effects.update(done)
    return said


def rewrite_texts(said: Conversation, policies: Policies, done: set[str]) -> Conversation:
    """Every text by the newline rule and, where a policy asks for it, without outer white space and personal data."""
    if policies.whitespace == "keep" and not policies.pii and not has_crlf(said):
        return said
    write = partial(clean_text, policies=policies, done=done)
    result = said.copy()
    result["messages"] = [{**message, "content": write(message["content"])} for message in said["messages"]]
    if "rejected" in said:
        result["rejected"] = write(said["rejected"])
    if "input_from" in said:
        nth, start = last_turn(said["messages"], "user"), said["input_from"]
        content = said["messages"][nth]["content"]
        above, below = write(content[: start - 2]), write(content[start:])
        result["messages"][nth]["content"] = f"{above}\n\n{below}"
        result["input_from"] = len(above) + 2
    return result


def has_crlf(said: Conversation) -> bool:
    return "\r\n" in said.get("rejected", "") or any("\r\n" in message["content"] for message in said["messages"])


def clean_text(text: str, policies: Policies, done: set[str]) -> str:
    """One text; what has an effect on it is added to `done`."""
    after = text.replace("\r\n", "\n")
    if after != text:
        done.add("newlines")
    if policies.whitespace == "strip" and (stripped := after.strip()) != after:
        done.add("whitespace")
        after = stripped
    for kind in pii.KINDS:
        if kind in policies.pii and (masked := pii.mask_pii(after, kind)) != after:
            done.add(kind)
            after = masked
    return after


def arrange_turns(said: Conversation, policies: Policies, done: set[str]) -> Conversation:
    """The turns that the policies want; RowError when they do not want the row."""
    before = messages = said["messages"]
    for name, step in STEPS.items():
        after = step(messages, getattr(policies, name))
        if after is not messages:
            done.add(name)
            messages = after
    if messages is before:
        return said
    result = said.copy()
    result["messages"] = messages
    if "rejected" in said:  # what is merged into the better reply belongs to both
        result["rejected"] = messages[-1]["content"].removesuffix(before[-1]["content"]) + said["rejected"]
    return result


def remove_system_turns(messages: list[Message], policy: str) -> list[Message]:
    if policy == "keep" or all(message["role"] != "system" for message in messages):
        return messages
    if policy == "drop":
        raise RowError("system_turn", "there is a system turn")
    return [message for message in messages if message["role"] != "system"]


def remove_empty_turns(messages: list[Message], policy: str) -> list[Message]:
    """RowError, whatever the policy, when there is nothing to learn from: the last reply is empty."""
    empty = [nth for nth, message in enumerate(messages) if fields.is_blank(message["content"])]
    if not empty:
        return messages
    if last_turn(messages, "assistant") in empty:
        raise RowError("empty_text", "the last reply of the assistant is empty")
    if policy == "drop":
        raise RowError("empty_turn", f"turn {empty[0] + 1} is empty")
    return [message for message in messages if not fields.is_blank(message["content"])]


def merge_neighbours(messages: list[Message], policy: str) -> list[Message]:
    """Neighbouring turns of one role with a blank line between them, or RowError."""
    roles = [message["role"] for message in messages]
    if policy == "keep" or all(one != other for one, other in pairwise(roles)):
        return messages
    if policy == "drop":
        raise RowError("role_order", "two neighbouring turns have one role")
    merged: list[Message] = []
    for message in messages:
        if merged and merged[-1]["role"] == message["role"]:
            merged[-1] = {**message, "content": f"{merged[-1]['content']}\n\n{message['content']}"}
        else:
            merged.append(message)
    return merged


def cut_unanswered(messages: list[Message], policy: str) -> list[Message]:
    """Nothing behind the last reply. A row that is to be dropped for it breaks the order of roles."""
    end = last_turn(messages, "assistant") + 1
    if policy == "drop" or end == len(messages):
        return messages
    if all(message["role"] != "user" for message in messages[:end]):
        raise RowError("no_reply", "nobody replies to the user")
    return messages[:end]


STEPS: dict[str, Callable[[list[Message], str], list[Message]]] = {
    "system": remove_system_turns,
    "empty": remove_empty_turns,
    "order": merge_neighbours,
    "unanswered": cut_unanswered,
}


def last_turn(messages: list[Message], role: str) -> int:
    """The place of the last turn of a role, or -1."""
    return max((nth for nth, message in enumerate(messages) if message["role"] == role), default=-1)


def check_order(roles: list[str]) -> None:
    """RowError unless somebody asks and the assistant has the last word."""
    if "system" in roles[1:]:
        raise RowError("wrong_order", "a system turn stands behind another turn")
    if "assistant" not in roles:
        raise RowError("no_reply", "there is no assistant turn")
    if "user" not in roles:
        raise RowError("wrong_order", "there is no user turn")
    if roles[-1] != "assistant":
        raise RowError("ends_with_user", "the last turn is the user's, and nobody replies")


def check_replies(better: str, worse: str) -> None:
    if fields.is_blank(worse):
        raise RowError("empty_text", "the worse reply is empty")
    if better.strip() == worse.strip():
        raise RowError("same_reply", "the better and the worse reply are the same text")
