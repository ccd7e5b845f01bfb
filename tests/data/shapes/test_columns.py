"""Columns are found by the names that people give them, and by no guess."""

import pytest
from single_rows import TURNS, said, talk

SYSTEM = {"role": "system", "content": "Be kind."}


@pytest.mark.parametrize("row", [
    {"instruction": "Hi", "context": "", "response": "Hello", "category": "open_qa"},
    {"instruction": "Hi", "response": "Hello"},
    {"prompt": "Hi", "response": "Hello"},
    {"context": "Hi", "response": "Hello"},
    {"query": "Hi", "response": "Hello", "original_question": "Hey", "type": "x"},
    {"problem": "Hi", "solution": "Hello"},
    {"Question": "Hi", "Answer": "Hello"},
    {"QUESTION": "Hi", "ANSWER": "Hello"},
    {"definition": "Hi", "inputs": "", "targets": "Hello", "task_name": "x"},
    {"inputs": "Hi", "targets": "Hello"},
    {"input": "Hi", "output": "Hello"},
    {"conversation": TURNS},
    {"Messages": TURNS},
    {"turns": [{"role": "user", "content": "Hi"}, {"role": "model", "content": "Hello"}]},
])  # fmt: skip
def test_one_conversation_under_every_name(row):
    assert said(row) == {"messages": TURNS}


@pytest.mark.parametrize("row", [
    {"instruction": "Do", "context": "this\n", "response": "Done", "category": "closed_qa"},
    {"question": "Do", "context": "this\n", "answer": "Done"},
    {"Question": "Do", "Context": "this\n", "Answer": "Done"},
    {"prompt": "Do", "context": "this\n", "completion": "Done"},
    {"prompt": "Do", "input": "this\n", "response": "Done"},
    {"definition": "Do", "inputs": "this\n", "targets": "Done"},
    {"prompt": "Do", "context": "this\n", "chosen": "Done", "rejected": "No"},
])  # fmt: skip
def test_a_context_is_a_part_of_the_prompt(row):
    conversation = said(row)
    assert conversation["messages"] == talk("Do\n\nthis\n", "Done")
    assert conversation["messages"][0]["content"][conversation["input_from"] :] == "this\n"


@pytest.mark.parametrize("name", ["system", "System", "system_prompt", "systemPrompt", "system message"])
@pytest.mark.parametrize("row", [
    {"question": "Hi", "response": "Hello"}, {"messages": TURNS}, {"input": "Hi", "output": "Hello"},
    {"prompt": "Hi", "chosen": "Hello", "rejected": "Go"},
])  # fmt: skip
def test_a_system_prompt_has_several_names(row, name):
    assert said({name: "Be kind.", **row})["messages"] == [SYSTEM, *TURNS]


def test_a_context_that_is_no_text_is_no_part_of_the_prompt():
    assert said({"question": "Hi", "answer": "Hello", "context": {"title": ["x"]}})["messages"] == TURNS


def test_who_names_the_columns_of_the_prompt_names_all_of_them():
    row = {"q": "Hi", "context": "x", "answer": "Hello"}
    assert said(row, question="q")["messages"] == TURNS
    assert said(row, question="q", input="context")["messages"] == talk("Hi\n\nx", "Hello")


def test_the_name_of_a_shape_goes_before_any_other():
    assert said({"question": "Hi", "Question": "Ho", "answer": "Hello", "response": "Go"})["messages"] == TURNS


@pytest.mark.parametrize("row, lines", [
    ({"question": "Hi", "response": "Hello", "solution": "Go"}, ["{answer: response}", "{answer: solution}"]),
    ({"problem": "Hi", "solution": "Hello", "answer": "7"}, ["{answer: answer}", "{answer: solution}"]),
    ({"instruction": "Hi", "question": "Ho", "response": "Hello"}, ["`shape: alpaca`", "`shape: qa`"]),
])  # fmt: skip
def test_which_of_two_columns_is_meant_is_asked(row, lines):
    with pytest.raises(ValueError, match="write ") as caught:
        said(row)
    assert all(line in str(caught.value) for line in lines)
