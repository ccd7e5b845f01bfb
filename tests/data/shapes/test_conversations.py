"""Questions, preferences and chats become turns that somebody can learn from."""

import json

import pytest
from single_rows import TURNS, parsed, said, talk

from refrain.data.shapes.errors import RowError


@pytest.mark.parametrize(
    "row",
    [
        {"prompt": "Hi", "chosen": "Hello", "rejected": "Go\taway "},
        {"question": "Hi", "chosen": "Hello", "rejected": "Go\taway "},
        {"prompt": TURNS[:1], "chosen": TURNS[1:], "rejected": "Go\taway "},
        {"prompt": "Hi", "chosen": TURNS, "rejected": talk("Hi", "Go\taway "), "input": "not asked for"},
        {"prompt": "Hi", "chosen": talk(" Hi\n", "Hello"), "rejected": "Go\taway "},
        {"prompt": "Hi", "chosen": TURNS[1], "rejected": {"role": "assistant", "content": "Go\taway "}},
        {"conversations": TURNS[:1], "chosen": TURNS[1], "rejected": {"from": "gpt", "value": "Go\taway "}},
        {"messages": TURNS[:1], "chosen": "Hello", "rejected": "Go\taway "},
        {"instruction": "Hi", "input": "", "chosen": "Hello", "rejected": "Go\taway "},
        {"chosen": TURNS, "rejected": talk("Hi", "Go\taway ")},
        {"chosen": "\n\nHuman: Hi\n\nAssistant: Hello", "rejected": "\n\nHuman: Hi\n\nAssistant: Go\taway "},
    ],
)
def test_one_preference_in_every_form(row):
    assert said(row) == {"messages": TURNS, "rejected": "Go\taway "}


@pytest.mark.parametrize(
    "row, fields",
    [
        ({"instruction": "Do", "input": "this\n", "output": "Done"}, {}),
        ({"instruction": "Do", "input": "this\n", "chosen": "Done", "rejected": "No"}, {}),
        (
            {"instruction": "Do", "input": "this\n", "chosen": "Done", "rejected": "No"},
            {"prompt": "instruction", "input": "input"},
        ),
        ({"Q": "Do", "context": "this\n", "A": "Done"}, {"question": "Q", "answer": "A", "input": "context"}),
        ({"instruction": "Do", "instances": [{"input": "this\n", "output": "Done"}]}, {}),
    ],
)
def test_input_follows_the_prompt_after_a_blank_line(row, fields):
    conversation = said(row, **fields)
    assert conversation["messages"] == talk("Do\n\nthis\n", "Done")
    assert conversation["messages"][0]["content"][conversation["input_from"] :] == "this\n"


def test_a_prompt_without_input_has_no_place_where_it_begins():
    assert "input_from" not in said({"instruction": "Do", "input": " ", "output": "Done"})


def test_no_input_goes_below_a_prompt_of_turns():
    with pytest.raises(RowError, match="prompt of the row is a list"):
        said({"prompt": talk("Hi"), "chosen": "Hello", "rejected": "Go", "context": "x"}, input="context")


SYSTEM = {"role": "system", "content": "Be brief."}
OTHER = {"role": "system", "content": "Be long."}


@pytest.mark.parametrize("row", [
    {"prompt": "Hi", "chosen": [SYSTEM, *TURNS], "rejected": [SYSTEM, *talk("Hi", "Go")]},
    {"prompt": [SYSTEM, TURNS[0]], "chosen": [SYSTEM, *TURNS], "rejected": [SYSTEM, *talk("Hi", "Go")]},
    {"prompt": [SYSTEM, TURNS[0]], "chosen": TURNS[1:], "rejected": talk("Hi", "Go")},
    {"system": "Be brief.", "prompt": "Hi", "chosen": [SYSTEM, *TURNS], "rejected": [SYSTEM, *talk("Hi", "Go")]},
    {"chosen": [SYSTEM, *TURNS], "rejected": [SYSTEM, *talk("Hi", "Go")]},
    {"conversations": [SYSTEM, TURNS[0]], "chosen": TURNS[1], "rejected": "Go"},
])  # fmt: skip
def test_the_system_turn_of_a_pair_stands_once(row):
    assert said(row) == {"messages": [SYSTEM, *TURNS], "rejected": "Go"}


def test_system_turns_that_differ_are_other_prompts():
    with pytest.raises(RowError, match="different system turns"):
        said({"prompt": "Hi", "chosen": [SYSTEM, *TURNS], "rejected": [OTHER, *talk("Hi", "Go")]})


def test_a_prompt_and_a_completion_may_be_turns_of_which_the_completion_is_learned():
    expected = [*TURNS[:1], {**TURNS[1], "train": False}, *talk("And?", "So.")]
    prompt, completion = [*TURNS, {"role": "user", "content": "And?"}], [{"role": "assistant", "content": "So."}]
    assert said({"prompt": prompt, "completion": completion})["messages"] == expected
    assert said({"prompt": prompt, "completion": "So."})["messages"] == expected
    assert said({"prompt": "And?", "response": completion})["messages"] == talk("And?", "So.")


@pytest.mark.parametrize("write", [json.dumps, lambda turns: " " + json.dumps(turns, indent=1) + "\n"])
def test_a_chat_in_a_cell_of_a_table_is_json(write):
    assert said({"messages": write(TURNS)}) == {"messages": TURNS}
    (error,) = parsed({"messages": write(TURNS)[:-3]})
    assert error.reason == "not_an_object"


def test_turns_of_one_speaker_in_a_row_are_allowed():
    messages = [TURNS[0], TURNS[0], TURNS[1], TURNS[1]]
    assert said({"messages": messages})["messages"] == messages


def test_text_is_kept_byte_for_byte():
    odd = "  \tHi\u2028\u00a0\x1cNA 00123 \r TRUE <|im_end|>\ufeff \n"
    assert said({"messages": talk(odd, odd)})["messages"] == talk(odd, odd)
    assert said({"question": odd, "answer": odd})["messages"] == talk(odd, odd)


def test_every_instance_below_an_instruction_is_a_conversation_of_its_group():
    # the layout of seed_tasks.jsonl of self-instruct
    row = {
        "id": "seed_task_0",
        "name": "opposites",
        "instruction": "Give the opposite.",
        "instances": [{"input": "warm", "output": "cold"}, {"input": "", "output": " "}, {"input": "", "output": "no"}],
        "is_classification": False,
    }
    first, error, last = parsed(row)
    assert first == {
        "messages": talk("Give the opposite.\n\nwarm", "cold"),
        "input_from": 20,
        "own_id": "seed_task_0",
        "group": "Give the opposite.",
    }
    assert (error.reason, str(error)) == ("empty_text", "output of instance 2 is empty")
    assert last["messages"] == talk("Give the opposite.", "no")
