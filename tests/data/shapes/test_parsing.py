"""Rows of every shape are recognised by what is in them and become the same conversations."""

import pickle
from dataclasses import replace

import pytest
from single_rows import DEFAULT, TURNS, parsed, said, talk

from refrain.data.readers.raw_rows import RawRow
from refrain.data.shapes import parsing, recognition, registry
from refrain.data.shapes.errors import RowError
from refrain.data.shapes.layout import Layout
from refrain.pipeline.schema import SourceConfig

HEARD = "\n\nHuman: Hi\n\nAssistant: "


@pytest.mark.parametrize(
    "row",
    [
        {"messages": TURNS},
        {"prompt": "Hi", "messages": TURNS},
        {"messages": [{**turn, "extra": 1} for turn in TURNS]},
        {"conversations": [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Hello"}]},
        {"conversations": TURNS},
        {"utterances": [{"speaker": "USER", "text": "Hi"}, {"speaker": "assistant", "text": "Hello"}]},
        {"instruction": "Hi", "output": "Hello"},
        {"instruction": "Hi", "input": " ", "output": "Hello"},
        {"instruction": "Hi", "input": None, "output": "Hello", "system": ""},
        {"question": "Hi", "answer": "Hello", "input": "not asked for", "group": "not asked for"},
        {"prompt": "Hi", "completion": "Hello"},
    ],
)
def test_one_conversation_in_every_shape(row):
    assert said(row) == {"messages": TURNS}


@pytest.mark.parametrize(
    "row",
    [
        {"prompt": "Hi", "response_0": "Go", "response_1": "Hello", "better_response_id": 1, "safer_response_id": 0},
        {"question": "Hi", "response_0": "Go", "response_1": "Hello", "better_response_id": "1"},
        {"instruction": "Hi", "response_a": "Hello", "response_b": "Go", "winner": "A"},
        {"conversation_a": TURNS, "conversation_b": talk("Hi", "Go"), "model_a": "x", "winner": "model_a"},
        {"history": "Hi", "human_ref_A": "Go", "human_ref_B": "Hello", "labels": 0},
        {"history": "Hi", "human_ref_A": "Go", "human_ref_B": "Hello", "labels": "0.0", "score_A": "8", "score_B": "9"},
        {"question": "Hi", "answer_0": "Hello", "answer_1": "Go", "score_0": 0.33, "score_1": -0.33},
        {"question": {"dataset": "eli5", "full_text": "Hi"}, "answer_0": "Go", "answer_1": "Hello",
         "score_0": -1.0, "score_1": 1.0},
        {"context": TURNS[:1], "response1": "Hello", "response2": "Go", "overall_preference": -2},
        {"qid": 1, "question": "Hi", "response_j": "Hello", "response_k": "Go"},
    ],
)  # fmt: skip
def test_the_better_of_two_replies_in_every_published_layout(row):
    assert said(row) == {"messages": TURNS, "rejected": "Go"}


def test_which_reply_is_safer_counts_where_fields_say_so():
    row = {"prompt": "Hi", "response_0": "Hello", "response_1": "Go", "better_response_id": 1, "safer_response_id": 0}
    assert said(row)["rejected"] == "Hello"
    assert said(row, better_response_id="safer_response_id")["rejected"] == "Go"


def test_a_system_field_is_the_first_turn_and_an_own_id_is_text():
    row = {"system": " Be kind. ", "question": "Hi", "answer": "Hello", "id": 7}
    system = {"role": "system", "content": " Be kind. "}
    assert said(row) == {"messages": [system, *TURNS], "own_id": "7"}
    assert said({"messages": [system, *TURNS]})["messages"] == [system, *TURNS]
    assert "own_id" not in said({**row, "id": 1.5})


def test_fields_pick_the_columns_and_so_the_shape():
    row = {"id_qa": "B2", "question": "wrong", "question_en": "Hi", "answer_en": "Hello", "answer_pt": "Oi"}
    fields = {"question": "question_en", "answer": "answer_en", "id": "id_qa"}
    assert said(row, **fields) == {"messages": TURNS, "own_id": "B2"}


@pytest.mark.parametrize(
    "row, fields",
    [
        ({"input": "Hi", "instruction": "x", "completion": "Hello"}, {"prompt": "input"}),
        ({"input": "Hi", "output": "Hello"}, {"instruction": "input"}),
        ({"question": "Hi", "answer": "Hello", "instruction": "7", "output": "x"}, {"id": "instruction"}),
    ],
)
def test_a_column_named_in_fields_has_no_other_use(row, fields):
    assert said(row, **fields)["messages"] == TURNS


def test_the_column_of_a_group_keeps_its_use():
    row = {"question": "Hi", "answer": "Hello", "id": 7}
    assert said(row, group="question") == {"messages": TURNS, "own_id": "7", "group": "Hi"}
    assert said(row, group="id") == {"messages": TURNS, "own_id": "7", "group": "7"}
    assert "group" not in said({**row, "page": None}, group="page")
    (error,) = parsed({**row, "page": ["a"]}, group="page")
    assert (error.reason, str(error)) == ("not_text", "group of the row is a list, not text")


def test_a_named_group_outranks_that_of_the_shape():
    row = {"instruction": "Do", "instances": [{"output": "Done"}], "task": "t1"}
    assert [said(row)["group"], said(row, group="task")["group"]] == ["Do", "t1"]


def test_the_first_rows_decide_together():
    raws = [
        RawRow(1, None, "broken"),
        RawRow(2, ["a"]),
        RawRow(3, {"question": "Hi"}),
        RawRow(4, {"answer": "Hello"}),
    ]
    assert recognition.recognise_layout(SourceConfig("file"), raws).shape.name == "qa"
    assert recognition.recognise_layout(SourceConfig("file"), raws[:2]) is None


AMBIGUOUS = {"instruction": "Do", "input": "", "output": "Done", "chosen": "Done", "rejected": "No"}


def test_rows_of_several_shapes_ask_for_one():
    with pytest.raises(ValueError, match=r"some/file.json: .*`shape: alpaca` or `shape: preference`$"):
        said(AMBIGUOUS)
    assert "rejected" in said(AMBIGUOUS, shape="preference")
    assert "rejected" not in said(AMBIGUOUS, shape="alpaca")
    assert "rejected" in said(AMBIGUOUS, prompt="instruction", input="input")


@pytest.mark.parametrize(
    "row, candidates",
    [
        ({"messages": TURNS, "chosen": TURNS, "rejected": TURNS}, ["messages", "preference"]),
        ({"prompt": "Hi", "chosen": HEARD, "rejected": HEARD}, ["preference", "transcript"]),
        ({"question": "Hi", "answer": "Hello", "chosen": "Hello", "rejected": "Go"}, ["qa", "preference"]),
        ({"context": "x", "question": "Hi", "answers": [{}], "answer": "Hello"}, ["qa", "squad"]),
        ({"instruction": "Do", "output": "Done", "instances": [{}]}, ["alpaca", "instances"]),
        ({"question": "Hi", "answer": "Hello", "response_j": "Hello", "response_k": "Go"}, ["qa", "votes"]),
    ],
)
def test_every_candidate_is_listed(row, candidates):
    lines = " or ".join(f"`shape: {name}`" for name in candidates)
    with pytest.raises(ValueError, match=f"write in conf/data beside the path {lines}$"):
        said(row)


@pytest.mark.parametrize(
    "row, settings, words",
    [
        ({"frage": "Hi", "antwort": "Hello"}, {}, ["frage: 'Hi', antwort: ", "qa: question, answer", "`fields: {"]),
        ({"question": "Hi", "answer": "Hello"}, {"shape": "alpaca"}, ["alpaca: instruction, output"]),
        ({"question": "Hi", "answer": "Hello"}, {"shape": "q&a"}, ["no shape q&a", "qa"]),
        ({"q": "Hi", "a": "Hello"}, {"question": "Q", "answer": "a"}, ["Q is no column", "q, a"]),
        ({"q": "Hi", "a": "Hello"}, {"questoin": "q", "answer": "a"}, ["questoin", "question"]),
        ({"messages": TURNS, "text": "Do"}, {"input": "text"}, ["fit no shape"]),
        ({"chosen": "Hello", "rejected": "Go"}, {}, ["fit no shape"]),
        ({"title": "x", "paragraphs": ["One.", "Two."]}, {}, ["fit no shape"]),
        ({"prompt": "Hi", "message_tree_id": "t"}, {}, ["fit no shape"]),
        (
            {"message_id": "a", "parent_id": None, "text": "Hi", "role": "prompter", "message_tree_id": "a"},
            {},
            ["single messages of trees", ".trees.jsonl.gz"],
        ),
    ],
)
def test_what_fits_nothing_is_refused_with_the_way_out(row, settings, words):
    with pytest.raises(ValueError) as caught:
        said(row, **settings)
    assert all(word in str(caught.value) for word in ["some/file.json", *words])


def test_a_shape_crosses_processes():
    assert pickle.loads(pickle.dumps(registry.SHAPES))[4].name == "qa"


ODD = [None, True, 0, -1, 1.5, 10**400, "", "x", HEARD, [], [None], ["x"], [[]], {}, {"text": 1}, [{"role": {}}],
       [{"qas": 1}], [{"qas": [1, {}]}], [{"output": []}], {"role": "prompter", "text": "x", "replies": [1, {}]},
       {"text": [1], "answer_start": [10**400]}, {"full_text": []}, [{"text": "x", "answer_start": {}}]]  # fmt: skip


@pytest.mark.parametrize("shape", registry.SHAPES, ids=lambda shape: "+".join(shape.required))
def test_a_field_of_any_kind_is_an_error_of_its_row_alone(shape):
    whole = dict.fromkeys((*shape.required, *shape.optional), "x")
    columns = {name: name for name in whole}
    for name in whole:
        for value in ODD:
            for tree in ("all", "best"):
                raw = RawRow(1, {**whole, name: value})
                found = parsing.parse_row(raw, Layout(shape, columns), replace(DEFAULT, tree=tree))
                assert found and all(isinstance(one, RowError) or one["messages"] for one in found), (value, tree)
