"""Of a conversation that is too long the newest turns are kept, from a user's on."""

import pytest

from refrain.serving.requests import prompts

TURNS = [{"role": role, "content": content} for role, content in [
    ("system", "ss"), ("user", "aaaa"), ("assistant", "b"), ("tool", "c"), ("user", "dd"), ("assistant", "e"),
    ("user", "f"),
]]  # fmt: skip


def count(turns):
    return sum(len(turn["content"]) for turn in turns)


@pytest.mark.parametrize(("most", "kept", "left_out"), [
    (99, "ss aaaa b c dd e f", 0), (12, "ss aaaa b c dd e f", 0), (11, "ss dd e f", 3), (6, "ss dd e f", 3),
    (5, "ss f", 5), (1, "ss f", 5),
])  # fmt: skip
def test_the_oldest_leave_with_what_answers_them(most, kept, left_out):
    turns, number = prompts.truncate_oldest(count, TURNS, most)
    assert (" ".join(turn["content"] for turn in turns), number) == (kept, left_out)


def test_one_question_alone_stays():
    assert prompts.truncate_oldest(count, TURNS[:2], 1) == (TURNS[:2], 0)


@pytest.mark.parametrize("turns", [[], [{"role": "assistant", "content": ""}]], ids=len)
def test_very_many_turns_are_counted_before_each_of_them_is_tried(server, turns):
    messages = [{"role": "user", "content": ""}, *turns] * 2000 + [{"role": "user", "content": ""}]
    answer = server.post("/v1/chat/completions", {"messages": messages})
    assert answer.json()["error"]["code"] == "context_length_exceeded"
    assert server.post("/tokenize", {"messages": messages}).json()["left"] == 0
    kept = server.post("/v1/chat/completions", {"messages": messages, "truncate": "oldest", "max_tokens": 2}).json()
    assert kept["refrain"]["truncated_messages"] > 1000 and 500 < kept["usage"]["prompt_tokens"] <= 1198
