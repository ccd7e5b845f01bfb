"""Rows as public data sets have them say what their authors meant, or are refused with the way out."""

import json
import re

import pytest
import yaml
from single_rows import TURNS, parsed, said, talk

from refrain.data.shapes.errors import RowError

SYSTEM = {"role": "system", "content": "Be kind."}
USER, REPLY = TURNS
BAD = {"role": "assistant", "content": "Go"}
CALL = {"type": "function", "function": {"name": "rain", "arguments": {"city": "Oslo"}}}
CALLING = {"role": "assistant", "content": "", "tool_calls": [CALL]}
TOOL = {"name": "rain", "description": "says it", "parameters": {}}
CHOICES = "Which?\n\nA. car\nB. cloud"


@pytest.mark.parametrize("row", [
    {"id": "0", "data": ["Hi", "Hello"]},
    {"conversations": ["Hi", "Hello"], "source": "x"},
    {"conversation": [["Hi", "Hello"]]},
    {"conversations": [["human", "Hi"], ["gpt", "Hello"]]},
    {"conversations": [{"question": "Hi", "answer": "Hello"}]},
    {"conversation": json.dumps([{"human": "Hi", "assistant": "Hello"}])},
    {"text": "### Human: Hi### Assistant: Hello"},
    {"text": "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\nHello<|im_end|>\n"},
    {"text": "<human>: Hi\n<bot>: Hello"},
    {"text": "\n\nHuman: Hi\n\nAssistant: Hello"},
    {"messages": [{"role": "USER", "message": "Hi"}, {"role": "CHATBOT", "message": "Hello"}]},
    {"messages": [{"role": "user", "text": "Hi"}, {"from": "assistant", "content": "Hello"}]},
    {"messages": [{"author": "user", "content": "Hi"}, {"sender": "bot", "text": "Hello"}]},
    {"messages": [{"role": "system", "content": None}, *TURNS]},
    {"messages": [{"role": "system", "content": ""}, *TURNS]},
    {"messages": [{**USER, "content": [{"text": "Hi"}]}, {**REPLY, "content": {"type": "text", "text": "Hello"}}]},
    {"question": "Hi", "answer": {"aliases": ["Hey"], "value": "Hello", "type": "x"}},
    {"question": "Hi", "answers": [{"text": "Hello"}, {"text": "Hey"}]},
    {"question": "Hi", "answers": {"text": ["Hello", "Hey"], "score": [3, 1]}},
    {"instruction": "Hi", "input": [], "output": "Hello"},
    {"prompt": json.dumps([USER]), "completion": json.dumps([REPLY])},
    {"prompt": ["Hi"], "completion": "Hello"},
    {"prompt_id": 81, "category": "math", "prompt": ["Hi"], "reference": ["Hello"]},
    {"prompt": "Hi", "completion": "Hello", "history": []},
    {"Contributors": ["x"], "Definition": ["Hi"], "Positive Examples": [{"input": "a", "output": "b"}],
     "Instances": [{"id": "1", "input": "", "output": ["Hello", "Hey"]}]},
])  # fmt: skip
def test_one_exchange_of_every_set(row):
    assert said(row)["messages"] == TURNS


@pytest.mark.parametrize("row, messages", [
    ({"custom_id": "a", "params": {"system": "Be kind.", "messages": [USER]},
      "result": {"type": "succeeded", "message": {**REPLY, "content": [{"type": "text", "text": "Hello"}]}}},
     [SYSTEM, *TURNS]),
    ({"system": [{"type": "text", "text": "Be kind."}], "messages": TURNS}, [SYSTEM, *TURNS]),
    ({"chat_history": [["One?", "1"]], "query": "Hi", "response": "Hello"}, [*talk("One?", "1"), *TURNS]),
    ({"question": "Hi", "answer": "Hello", "history": ["One?", "1"]}, [*talk("One?", "1"), *TURNS]),
    ({"question": "Hi", "answer": "Hello", "history": [{"question": "One?", "answer": "1"}]},
     [*talk("One?", "1"), *TURNS]),
    ({"question": "Is it?", "answer": True, "passage": "Fog is low."}, talk("Is it?\n\nFog is low.", "true")),
    ({"question": "Is it?", "answer": False}, talk("Is it?", "false")),
    ({"question": "Hi", "answer": "Hello", "reasoning_content": "Hm."},
     [USER, {**REPLY, "reasoning_content": "Hm."}]),
    ({"messages": [USER, {"role": "assistant", "content": [
        {"type": "thinking", "thinking": "Hm.", "signature": "x"}, {"type": "text", "text": "Hello"}]}]},
     [USER, {**REPLY, "reasoning_content": "Hm."}]),
    ({"question": "Which?", "choices": {"text": ["car", "cloud"], "label": ["A", "B"]}, "answerKey": "B"},
     talk(CHOICES, "B. cloud")),
    ({"question_stem": "Which?", "choices": {"text": ["car", "cloud"], "label": ["A", "B"]}, "answerKey": "B"},
     talk(CHOICES, "B. cloud")),
    ({"question": "Which?", "options": ["car", "cloud"], "answer": "B", "answer_index": 1}, talk(CHOICES, "B. cloud")),
    ({"question": "Which?", "choices": ["car", "cloud"], "answer": "cloud"}, talk(CHOICES, "B. cloud")),
    ({"question": "Which?", "options": {"A": "car", "B": "cloud"}, "answer": "cloud", "answer_idx": "B"},
     talk(CHOICES, "B. cloud")),
    ({"question": "Which?", "choices": ["car", "cloud"], "answer": 0}, talk(CHOICES, "A. car")),
    ({"ctx": "Which?", "endings": ["car", "cloud"], "label": "2"}, talk(CHOICES, "B. cloud")),
    ({"article": "Fog is low.", "question": "Which?", "options": ["car", "cloud"], "answer": "A"},
     talk(f"Fog is low.\n\n{CHOICES}", "A. car")),
    ({"messages": [USER, {"role": "assistant", "tool_calls": [CALL]}]}, [USER, CALLING]),
    ({"id": 0, "query": "Hi", "answers": json.dumps([CALL["function"]]), "tools": json.dumps([TOOL])}, [USER, CALLING]),
    ({"messages": [USER,
                   {"role": "assistant", "content": [{"type": "tool_use", "id": "t1", "name": "rain",
                                                      "input": {"city": "Oslo"}}]},
                   {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t1", "content": "yes"}]},
                   REPLY], "tools": [{"name": "rain", "description": "says it", "input_schema": {}}]},
     [USER, {**CALLING, "tool_calls": [{"id": "t1", **CALL}]}, {"role": "tool", "content": "yes", "tool_call_id": "t1"},
      REPLY]),
    ({"conversations": [{"from": "human", "value": "Hi"},
                        {"from": "function-call", "value": json.dumps(CALL["function"])},
                        {"from": "FUNCTION RESPONSE", "value": "yes"}, {"from": "gpt", "value": "Hello"}]},
     [USER, CALLING, {"role": "tool", "content": "yes"}, REPLY]),
])  # fmt: skip
def test_all_that_changes_what_is_learned_is_read(row, messages):
    assert said(row)["messages"] == messages


@pytest.mark.parametrize("row", [
    {"prompt": "Hi", "messages": TURNS, "chosen": TURNS, "rejected": [USER, BAD], "score_chosen": 8.5},
    {"query": "Hi", "response": "Hello", "rejected_response": "Go"},
    {"prompt": "Hi", "response": "Hello", "rejected_response": "Go"},
    {"messages": TURNS, "rejected_response": "Go"},
    {"prompt": "Hi", "chosen": json.dumps(TURNS), "rejected": json.dumps([USER, BAD])},
    {"chosen": json.dumps(TURNS), "rejected": json.dumps([USER, BAD])},
    {"conversation_a": json.dumps(TURNS), "conversation_b": json.dumps([USER, BAD]), "winner": "model_a"},
])  # fmt: skip
def test_one_pair_of_every_set(row):
    assert said(row) == {"messages": TURNS, "rejected": "Go"}


@pytest.mark.parametrize("row, shape", [
    ({"contents": [{"role": "user", "parts": [{"text": "Hi"}]}, {"role": "model", "parts": [{"text": "Hello"}]}]},
     None),
    ({"questions": ["Hi"], "answers": ["Hello"]}, None),
    ({"instruction": "Hi", "instances": [{"input": "", "output": "Hello"}]}, None),
    ({"context": "Hello", "question": "Hi", "answers": {"text": ["Hello"], "answer_start": [0]}}, None),
    ({"prompt": "Hi", "completion": "Hello"}, "completion"),
])  # fmt: skip
def test_a_reply_that_is_called_bad_is_so_in_every_shape(row, shape):
    assert [said({**row, name: False}, shape)["label"] for name in ("label", "Label")] == [False, False]


@pytest.mark.parametrize("row, words", [
    ({"prompt": "Hi", "answers": [{"answer": "Hello", "rank": 1}, {"answer": "Go", "rank": 2}]}, "it has no answer"),
    ({"instruction": "Hi", "completions": [{"response": "Hello", "score": 9}], "models": ["x"]}, "it has no "),
    ({"id": "r", "custom_id": "a", "response": {"body": {}}}, "openai_batch: custom_id, body; it has no body"),
    ({"segments": [{"label": False, "text": "Hi"}, {"label": True, "text": "Hello"}]}, "it has no messages"),
    ({"system": "SYSTEM: x y", "chat": "USER: Hi\n\n\nASSISTANT: Hello"}, "it has no answer"),
    ({"conversation_id": "1", "num_turns": 1, "chat": {"turn_1": {"Human": "Hi"}}}, "it has no "),
    ({"turns": ["Hi", "And?"], "category": "x"}, "it has no "),
])  # fmt: skip
def test_no_line_is_proposed_that_would_not_read_the_row(row, words):
    with pytest.raises(ValueError, match=words) as caught:
        said(row)
    assert "`fields: {" not in str(caught.value)


@pytest.mark.parametrize("row, fields", [
    ({"task_id": 7, "text": "Add two numbers.", "code": "def add(a, b): ..."}, ["question", "text", "answer", "code"]),
    ({"task_id": "h/0", "prompt": "def f(): x", "canonical_solution": "return 1"},
     ["question", "prompt", "answer", "canonical_solution"]),
    ({"chat_history": [["One?", "1"]], "message": "Hi you", "reply": "Hello"},
     ["question", "message", "answer", "reply"]),
    ({"question": "Hi", "distractor1": "car", "distractor2": "bus", "distractor3": "sea", "correct_answer": "cloud",
      "support": "Fog is low."},
     ["question", "question", "input", "support", "answer", "correct_answer"]),
])  # fmt: skip
def test_the_line_that_is_proposed_is_complete(row, fields):
    with pytest.raises(ValueError) as caught:
        said(row)
    mapping = yaml.safe_load(re.search(r"`fields: (\{.*?\})`", str(caught.value))[1])
    assert mapping == dict(zip(fields[::2], fields[1::2], strict=True))
    assert said(row, **mapping)["messages"][-1]["role"] == "assistant"


def test_the_columns_of_two_replies_are_not_a_part_of_the_prompt():
    row = {"goal": "Get up", "sol1": "Lie down", "sol2": "Stand up", "split": "train", "pair_id": 3, "label": 1}
    with pytest.raises(ValueError, match=re.escape("{prompt: goal, first: sol1, second: sol2, verdict: label}")):
        said(row)


@pytest.mark.parametrize("answer", ["[1, 2]", '[{"name": "x"}]', '[{"role": "user", "content": "Hi"}]'])
def test_an_answer_in_json_that_is_no_reply_is_a_text(answer):
    assert said({"instruction": "Write JSON.", "output": answer})["messages"] == talk("Write JSON.", answer)


def test_an_empty_system_turn_that_has_tools_is_not_passed_over():
    (error,) = parsed({"messages": [{"role": "system", "content": "", "tools": [TOOL]}, *TURNS]})
    assert error.reason == "more_than_text"


def test_turns_that_python_printed_are_no_text_to_learn():
    (error,) = parsed({"prompt": "Hi", "chosen": str([REPLY]), "rejected": str([BAD])})
    assert isinstance(error, RowError) and error.reason == "not_an_object" and "as Python prints it" in str(error)


def test_numbers_of_choices_count_from_where_the_rows_show():
    with pytest.raises(ValueError, match="from 0 or from 1 cannot be seen"):
        said({"question": "Which?", "choices": ["car", "cloud", "sea"], "answer": 1})
