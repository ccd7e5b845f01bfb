"""The closed list of reasons why a row is not used, and the error that carries one."""

from typing import Literal

Reason = Literal[
    "unreadable", "not_an_object", "missing_field", "not_text", "bad_text", "empty_text", "unknown_role", "wrong_order",
    "refused", "no_reply", "same_reply", "other_prompt", "wrong_offset", "unknown_label", "contradiction",
    "more_than_text", "bad_reply", "nothing_to_learn",
    "empty_turn", "system_turn", "role_order", "ends_with_user", "unanswerable", "tie", "unwanted_path",
    "beyond_fraction", "overlong",
    "duplicate", "other_label", "exact_leak", "near_leak", "group_leak", "contaminated", "other_answer",
]  # fmt: skip


QUARANTINED: dict[Reason, str] = {  # broken
    "unreadable": "The file is broken here, or holds bytes that are not UTF-8.",
    "not_an_object": "The row, or a part of it that must be a list or have named fields, is something else.",
    "missing_field": "A field that the shape needs is not there, or a list holds nothing.",
    "not_text": "A list, an object, true, false or null stands where text belongs.",
    "bad_text": "A text holds a NUL, or half of a surrogate pair.",
    "empty_text": "A question, or the reply to learn from, is nothing but white space, or characters that nobody sees.",
    "unknown_role": "A turn is neither the system's, the user's, the assistant's nor a tool's.",
    "wrong_order": "A system turn is not the first, or there is no user turn.",
    "refused": "The chat template does not take these turns, and says why.",
    "no_reply": "The assistant says nothing, or more than the one reply that a preference compares.",
    "same_reply": "The better and the worse reply are equal but for white space.",
    "other_prompt": "The better and the worse reply answer different prompts.",
    "wrong_offset": "The answer does not stand in the context where the row says it does.",
    "unknown_label": "A label, a weight, a split or a count of votes is none that is known.",
    "contradiction": "Two fields of the row contradict each other, such as a label and the votes.",
    "more_than_text": "A turn or the row holds more than text, which the template does not write; its key is named.",
}


SET_ASIDE: dict[Reason, str] = {  # whole, but not wanted
    "bad_reply": "The row calls its reply a bad one (`label` or `kto_tag` is false), which `kto` learns from.",
    "nothing_to_learn": "No reply is to be learned: each says `weight: 0`, `train: false` or the like.",
    "empty_turn": "A turn before the last reply is empty (`policies.empty`).",
    "system_turn": "There is a system turn (`policies.system`).",
    "role_order": "Two neighbouring turns have one role (`policies.order`).",
    "ends_with_user": "The last turn is the user's or a tool's, and nobody replies (`policies.unanswered`).",
    "unanswerable": "The question has no answer in its context.",
    "tie": "Neither of two replies is better.",
    "unwanted_path": "The path through a tree of messages is not the best (`policies.tree`), or the first is deleted.",
    "beyond_fraction": "It is no part of the share of the training rows that is learned from (`train_fraction`).",
    "overlong": "The row has more than `max_tokens` tokens (`policies.overlong`).",
}


DUPLICATES: dict[Reason, str] = {  # said by another row
    "duplicate": "An earlier row asks and answers the same.",
    "other_label": "One row calls a reply to a prompt good, another calls it bad: neither is learned.",
    "exact_leak": "A question of the row, in any turn, belongs to another split: test before val, val before train.",
    "near_leak": "A training row asks nearly what a row of val or test asks.",
    "group_leak": "A row of the same group stands in another split.",
    "contaminated": "A training row holds a long run of words from a prompt of val or test.",
    "other_answer": "Another row answers the same prompt in another way (`policies.answers`).",
}


REASONS = QUARANTINED | SET_ASIDE | DUPLICATES


class RowError(Exception):
    """Why a row is no conversation, in one sentence; crosses processes whole."""

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(reason, message)  # all arguments, or it cannot be unpickled
        self.reason = reason
        self.message = message

    def __str__(self) -> str:
        return self.message
