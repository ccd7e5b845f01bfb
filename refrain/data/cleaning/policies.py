"""What becomes of conversations that are whole but may not be wanted, with every effect counted."""

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache, partial
from itertools import pairwise
from typing import Any

from refrain.chat.records import Message, is_text_alone, list_texts
from refrain.data.cleaning import pii
from refrain.data.shapes import fields, turns
from refrain.data.shapes.conversations import Conversation
from refrain.data.shapes.errors import RowError
from refrain.pipeline.schema import Policies


def apply_policies(conversation: Conversation, policies: Policies, effects: Counter[str] | set[str]) -> Conversation:
    """A conversation as the policies want it, the same object where they change nothing.

    RowError when it is not wanted, or its turns are in no order that somebody can learn from.
    """
    return conversation if is_in_order(conversation, policies) else apply_each(conversation, policies, effects)


def apply_each(conversation: Conversation, policies: Policies, effects: Counter[str] | set[str]) -> Conversation:
    """As `apply_policies`, each policy asked in its turn."""
    changes: set[str] = set()
    if any("train" in message for message in conversation["messages"]):
        changes.add("context")
        conversation = cut_context(conversation)
    conversation = arrange_turns(rewrite_texts(conversation, policies, changes), policies, changes)
    check_order([message["role"] for message in conversation["messages"]])
    if "rejected" in conversation:
        check_replies(conversation["messages"][-1]["content"], conversation["rejected"])
    effects.update(changes)
    return conversation


def is_in_order(conversation: Conversation, policies: Policies) -> bool:
    """Whether a glance is enough to see that no policy changes or refuses a conversation, as is so of most."""
    if policies.whitespace != "keep" or policies.pii or "rejected" in conversation or "tools" in conversation:
        return False
    roles = []
    for message in conversation["messages"]:
        text = message["content"]
        if len(message) != 2 or ("\r" in text and "\r\n" in text) or fields.is_blank(text):
            return False
        roles.append(message["role"])
    return is_usual_order(tuple(roles), *[getattr(policies, name) for name in STEPS])


@lru_cache(maxsize=1000)
def is_usual_order(roles: tuple[str, ...], *wanted: str) -> bool:
    """Whether the policies, in the order of STEPS, leave turns of these roles as they are; found by trying them."""
    messages: list[Message] = [{"role": role, "content": "a text"} for role in roles]
    try:
        for step, policy in zip(STEPS.values(), wanted, strict=True):
            if step(messages, policy) is not messages:
                return False
        check_order(list(roles))
    except RowError:
        return False
    return True


def cut_context(conversation: Conversation) -> Conversation:
    """Without what stands behind the last reply that is learned; RowError when there is none, or not the one judged."""
    messages = conversation["messages"]
    is_preference, end = "rejected" in conversation, turns.last_learned_turn(messages) + 1
    last_reply, is_good = turns.last_turn(messages, "assistant"), conversation.get("label", True)
    if not end or (end <= last_reply and (is_preference or not is_good)):
        side = "no reply" if not end else "the better reply" if is_preference else "the reply that is called bad"
        raise RowError("nothing_to_learn", f"{side} is {'not ' * (end > 0)}to be learned")
    result = conversation.copy()
    if end <= last_reply:
        result.pop("label", None)  # a verdict on a reply that is not learned
    if messages[-1]["role"] == "assistant":  # whether somebody replies is for another policy to judge
        result["messages"] = messages[:end]
    return result


def rewrite_texts(conversation: Conversation, policies: Policies, changes: set[str]) -> Conversation:
    """Every text by the newline rule and, where a policy asks for it, without outer white space and personal data."""
    if policies.whitespace == "keep" and not policies.pii and not has_crlf(conversation):
        return conversation
    clean = partial(clean_text, policies=policies, changes=changes)
    result = conversation.copy()
    result["messages"] = [clean_message(message, policies, changes) for message in conversation["messages"]]
    if "tools" in conversation:
        result["tools"] = clean_values(conversation["tools"], policies, changes)
    if "rejected" in conversation:
        result["rejected"] = clean(conversation["rejected"])
    if "input_from" in conversation:
        last, start = turns.last_turn(conversation["messages"], "user"), conversation["input_from"]
        content = conversation["messages"][last]["content"]
        instruction, added_input = clean(content[: start - 2]), clean(content[start:])
        result["messages"][last]["content"] = f"{instruction}\n\n{added_input}"
        result["input_from"] = len(instruction) + 2
    return result


def has_crlf(conversation: Conversation) -> bool:
    texts = (conversation.get("rejected", ""), *(message["content"] for message in conversation["messages"]))
    if any("\r\n" in text for text in texts):
        return True
    parts = [message for message in conversation["messages"] if not is_text_alone(message)]
    return any("\r\n" in text for text in list_texts([parts, conversation.get("tools")]))


def clean_message(message: Message, policies: Policies, changes: set[str]) -> Message:
    """A turn with its words, thoughts and calls clean; what is called keeps its outer white space."""
    result: Message = {**message, "content": clean_text(message["content"], policies, changes)}
    if "reasoning_content" in message:
        result["reasoning_content"] = clean_text(message["reasoning_content"], policies, changes)
    if "tool_calls" in message:
        result["tool_calls"] = clean_values(message["tool_calls"], policies, changes)
    return result


def clean_values(value: Any, policies: Policies, changes: set[str]) -> Any:
    """Every text of a value but its keys, with the white space around it."""
    if isinstance(value, str):
        return clean_text(value, replace(policies, whitespace="keep"), changes)
    if isinstance(value, dict):
        return {key: clean_values(part, policies, changes) for key, part in value.items()}
    return [clean_values(part, policies, changes) for part in value] if isinstance(value, list) else value


def clean_text(text: str, policies: Policies, changes: set[str]) -> str:
    """One text; what has an effect on it is added to `changes`."""
    cleaned = text.replace("\r\n", "\n")
    if cleaned != text:
        changes.add("newlines")
    if policies.whitespace == "strip" and cleaned != cleaned.strip():
        changes.add("whitespace")
        cleaned = cleaned.strip()
    for kind in pii.KINDS:
        if kind in policies.pii and (masked := pii.mask_pii(cleaned, kind)) != cleaned:
            changes.add(kind)
            cleaned = masked
    return cleaned


def arrange_turns(conversation: Conversation, policies: Policies, changes: set[str]) -> Conversation:
    """The turns that the policies want; RowError when they do not want the row."""
    original = messages = conversation["messages"]
    for name, step in STEPS.items():
        arranged = step(messages, getattr(policies, name))
        if arranged is not messages:
            changes.add(name)
            messages = arranged
    if messages is original:
        return conversation
    result = conversation.copy()
    result["messages"] = messages
    if "rejected" in conversation:  # what is merged into the better reply belongs to both
        result["rejected"] = messages[-1]["content"].removesuffix(original[-1]["content"]) + conversation["rejected"]
    return result


def remove_system_turns(messages: list[Message], policy: str) -> list[Message]:
    if policy == "keep" or all(message["role"] != "system" for message in messages):
        return messages
    if policy == "drop":
        raise RowError("system_turn", "there is a system turn")
    return [message for message in messages if message["role"] != "system"]


def remove_empty_turns(messages: list[Message], policy: str) -> list[Message]:
    """RowError, whatever the policy, when there is nothing to learn from: the last reply is empty."""
    empty = [nth for nth, message in enumerate(messages) if is_empty(message)]
    if not empty:
        return messages
    if turns.last_turn(messages, "assistant") in empty:
        raise RowError("empty_text", "the last reply of the assistant is empty")
    if policy == "drop":
        raise RowError("empty_turn", f"turn {empty[0] + 1} is empty")
    return [message for message in messages if not is_empty(message)]


def is_empty(message: Message) -> bool:
    """Whether a turn says nothing; a tool may give nothing back, and a call needs no words."""
    return message["role"] != "tool" and "tool_calls" not in message and fields.is_blank(message["content"])


def merge_neighbours(messages: list[Message], policy: str) -> list[Message]:
    """Neighbouring turns of one role with a blank line between them, or RowError."""
    roles = [message["role"] for message in messages]
    if policy == "keep" or all(role != next_role or role == "tool" for role, next_role in pairwise(roles)):
        return messages  # several calls at once have several results
    if policy == "drop":
        raise RowError("role_order", "two neighbouring turns have one role")
    merged: list[Message] = []
    for message in messages:
        if merged and merged[-1]["role"] == message["role"] != "tool":
            if not (is_text_alone(merged[-1]) and is_text_alone(message)):
                raise RowError("role_order", "two neighbouring turns have one role, and one has calls or thoughts")
            if ("train" in merged[-1]) != ("train" in message):
                raise RowError("role_order", "two neighbouring turns have one role, and only one of them is learned")
            merged[-1] = {**message, "content": f"{merged[-1]['content']}\n\n{message['content']}"}
        else:
            merged.append(message)
    return merged


def cut_unanswered(messages: list[Message], policy: str) -> list[Message]:
    """Nothing behind the last reply that is learned. A row that is to be dropped for it breaks the order of roles."""
    end = turns.last_learned_turn(messages) + 1
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


def check_order(roles: list[str]) -> None:
    """RowError unless somebody asks and the assistant has the last word."""
    if "system" in roles[1:]:
        raise RowError("wrong_order", "a system turn stands behind another turn")
    if "assistant" not in roles:
        raise RowError("no_reply", "there is no assistant turn")
    if "user" not in roles:
        raise RowError("wrong_order", "there is no user turn")
    if roles[-1] != "assistant":
        raise RowError("ends_with_user", f"the last turn is the {roles[-1]}'s, and nobody replies")


def check_replies(better: str, worse: str) -> None:
    if fields.is_blank(worse):
        raise RowError("empty_text", "the worse reply is empty")
    if better.strip() == worse.strip():
        raise RowError("same_reply", "the better and the worse reply are the same text")
