"""Two replies to one prompt and a verdict on them: a label, counts of votes, or both."""

import math
from typing import Any, NamedTuple

from refrain.data.shapes import conversations
from refrain.data.shapes.conversations import Conversation
from refrain.data.shapes.errors import RowError
from refrain.data.shapes.fields import Fields

Verdict = int | None  # the place of the better reply; None: neither


class VoteFormat(NamedTuple):
    """The columns of a row with two replies. Without a label and scores, the first reply is the better one."""

    prompt: str | None  # null: the replies are chats, and what they share is the prompt
    replies: tuple[str, str]
    label: str | None = None
    verdicts: dict[str, Verdict] = {}  # noqa: RUF012 - what a label may say
    scores: tuple[str, str] | None = None

    @property
    def required_columns(self) -> tuple[str, ...]:
        """What a row must have."""
        columns = [self.prompt, *self.replies, self.label, *(self.scores or () if self.label is None else ())]
        return tuple(column for column in columns if column is not None)


def parse_vote(vote_format: VoteFormat, row: Fields) -> Conversation:
    """The better reply is learned, the worse one rejected; RowError when neither is better, or both are."""
    side = preferred_side(vote_format, row)
    better, worse = vote_format.replies[side], vote_format.replies[1 - side]
    if vote_format.prompt is None:
        return conversations.parse_branches(better, worse, row)
    prompt = row.get(vote_format.prompt)
    if isinstance(prompt, dict) and "full_text" in prompt:
        row = {**row, vote_format.prompt: prompt["full_text"]}
    return conversations.parse_preference(vote_format.prompt, better, worse, row)


def preferred_side(vote_format: VoteFormat, row: Fields) -> int:
    """The place of the better reply, on which all that the row says agrees."""
    verdicts: list[Verdict] = []
    if vote_format.label is not None:
        verdicts.append(side_of_label(row[vote_format.label], vote_format))
    if vote_format.scores is not None and all(name in row for name in vote_format.scores):
        first, second = (parse_score(row, name) for name in vote_format.scores)
        verdicts.append(None if first == second else int(first < second))
    sides = {side for side in verdicts if side is not None}
    if len(sides) == 2:
        raise RowError("contradiction", f"{vote_format.label} prefers one reply, and the votes prefer the other")
    if None in verdicts:
        raise RowError("tie", "neither of the two replies is better")
    return sides.pop() if sides else 0


def side_of_label(value: Any, vote_format: VoteFormat) -> Verdict:
    label = str(value).strip().lower().removesuffix(".0") if isinstance(value, str | int | float) else None
    if label not in vote_format.verdicts:
        choices = ", ".join(vote_format.verdicts)
        raise RowError("unknown_label", f"{vote_format.label} of the row is {value!a:.40}, not one of {choices}")
    return vote_format.verdicts[label]


def parse_score(row: Fields, name: str) -> float:
    """A count of votes or a score, also where a table has made text of it."""
    value = row[name]
    try:
        score = float(value) if isinstance(value, str) else value
    except ValueError:
        score = math.nan
    if not isinstance(score, int | float) or score != score:
        raise RowError("unknown_label", f"{name} of the row is {value!a:.40}, not a number")
    return score


A_OR_B: dict[str, Verdict] = {
    **dict.fromkeys(("model_a", "response_a", "a"), 0),
    **dict.fromkeys(("model_b", "response_b", "b"), 1),
    **dict.fromkeys(("tie", "tie (bothbad)", "both_bad"), None),
}


STRENGTHS: dict[str, Verdict] = {"-3": 0, "-2": 0, "-1": 0, "0": None, "1": 1, "2": 1, "3": 1}


ANY_VERDICT = VoteFormat("prompt", ("first", "second"), "verdict")  # what its labels say is for a person to tell


VOTE_FORMATS = (
    ANY_VERDICT,
    *[VoteFormat(prompt, ("response_0", "response_1"), "better_response_id", {"0": 0, "1": 1})
      for prompt in ("prompt", "question", "instruction")],
    *[VoteFormat(prompt, ("response_a", "response_b"), "winner", A_OR_B)
      for prompt in ("prompt", "question", "instruction")],
    VoteFormat(None, ("conversation_a", "conversation_b"), "winner", A_OR_B),
    VoteFormat("history", ("human_ref_A", "human_ref_B"), "labels", {"1": 0, "0": 1}, scores=("score_A", "score_B")),
    VoteFormat("question", ("answer_0", "answer_1"), scores=("score_0", "score_1")),
    VoteFormat("context", ("response1", "response2"), "overall_preference", STRENGTHS),
    VoteFormat("question", ("response_j", "response_k")),
)  # fmt: skip
