"""Every field of a row that nothing reads has its name."""

import pytest
from single_rows import TURNS, talk

from refrain.data.readers.raw_rows import RawRow
from refrain.data.shapes import ignored, recognition
from refrain.pipeline.schema import SourceConfig

NODE = {
    "role": "prompter",
    "text": "Hi",
    "lang": "en",
    "replies": [{"role": "assistant", "text": "Hello", "emojis": {"+1": 1}}],
}
PASSAGE = {"question": "What?", "id": "q", "answers": [{"text": "x", "answer_start": 0}], "plausible_answers": [{}]}


def names(row, shape=None, **fields):
    source = SourceConfig("some/file.json", shape=shape, fields=fields)
    layout = recognition.recognise_layout(source, [RawRow(1, row)])
    return ignored.find_ignored(row, ignored.read_fields(layout))


@pytest.mark.parametrize("row, expected", [
    ({"question": "Hi", "answer": "Hello", "topic": "x", "page": 0, "note": "", "tags": [], "safe": False},
     {"topic", "page", "safe"}),
    ({"messages": [{**turn, "id": 1, "weight": 1, "name": None} for turn in TURNS], "id": 7}, {"messages[].id"}),
    ({"messages": TURNS, "label": "cats", "kto_tag": True}, {"label"}),
    ({"messages": [{**TURNS[0], "answer": "x"}, {**TURNS[1], "trainOnTurn": False}], "Label": 2},
     {"messages[].answer", "Label"}),
    ({"messages": [{"role": "user", "content": [{"type": "text", "text": "Hi", "cache": 1}]}]},
     {"messages[].content[].cache"}),
    ({"chosen": [*talk("Hi"), {**TURNS[1], "score": 1}], "rejected": talk("Hi", "Go"), "margin": 2},
     {"chosen[].score", "margin"}),
    ({"message_tree_id": "t", "prompt": NODE}, {"prompt[].lang", "prompt[].emojis"}),
    ({"messages": [{**TURNS[0], "id": 1}, {**TURNS[1], "tool_calls": [{"name": "f"}], "thinking": "x"},
                   {"role": "tool", "content": {"rain": 1}, "tool_call_id": "1"}], "tools": [{"name": "f", "x": 1}]},
     {"messages[].id"}),
    ({"question": "Hi", "answer": "Hello", "tools": "a hammer"}, {"tools"}),
    ({"title": "x", "paragraphs": [{"context": "x", "qas": [PASSAGE]}]},
     {"title", "paragraphs[].qas[].plausible_answers"}),
    ({"contents": [{"role": "user", "parts": [{"text": "Hi"}], "note": "x"}], "temperature": 1},
     {"contents[].note", "temperature"}),
    ({"custom_id": "a", "url": "/v1", "body": {"model": "m", "messages": TURNS}}, {"url", "body[].model"}),
    ({"conversation": [{"human": "Hi", "assistant": "Hello", "mood": "x"}]}, {"conversation[].mood"}),
    ({"instruction": "Do", "instances": [{"input": "", "output": "Done", "constraints": "short"}]},
     {"instances[].constraints"}),
    ({"prompt": "Hi", "response_0": "Hello", "response_1": "Go", "better_response_id": 0, "safer_response_id": 1},
     {"safer_response_id"}),
])  # fmt: skip
def test_what_nothing_reads_is_named(row, expected):
    assert names(row) == expected


def test_a_column_that_fields_name_is_read_and_what_it_replaces_is_not():
    assert names({"question": "Hi", "answer": "Hello", "label": 0, "kto_tag": 1}) == {"label"}
    assert names({"question": "Hi", "answer": "Hello", "label": 0}, label="label") == set()
    assert names({"question": "Hi", "label": "Hello"}, answer="label") == set()
    assert names({"q": "Hi", "question": "Ho", "answer": "Hello", "page": 1}, question="q", group="page") == {
        "question"
    }


def test_trees_may_be_deeper_than_calls():
    node = {"role": "assistant", "text": "x", "last": True}
    for _ in range(5_000):
        node = {"role": "assistant", "text": "x", "replies": [node]}
    assert names({"message_tree_id": "t", "prompt": node}) == {"prompt[].last"}
