"""What is read straight is what the long way reads, and nothing that it would not."""

import random

import pytest
from single_rows import DEFAULT, talk

from refrain.data.readers.raw_rows import RawRow, WrittenFloat
from refrain.data.shapes import ignored, parsing, recognition
from refrain.data.shapes.plain_chats import PlainChats
from refrain.pipeline.schema import SourceConfig

KEYS = ("role", "content", "from", "value", "speaker", "text", "weight", "name", "tool_calls", "reasoning", "extra")
SPEAKERS = ("user", "assistant", "system", "developer", "human", "GPT", "model", "tool", "function_call", "x", "", 1)
TEXTS = ("a", "Zoë 🌧", "", " \n", "a\0b", "\ud800", "[]", '{"name": "f"}', None, 1, [], ["a"], {"text": "a"})
IDS = (7, 0, True, WrittenFloat("1.5"), None, "a-1", " ", "", "é", "a\0", "a\nb", [], [1], {})
COLUMNS = ("messages", "id", "system", "tools", "functions", "label", "split", "source", "image", "group", "kto_tag")


def layout(*rows, **fields):
    return recognition.recognise_layout(
        SourceConfig("some/file.json", fields=fields),
        [RawRow(1, row) for row in rows or [{"messages": talk("a", "b")}]],
    )


def read_in_turn(value, layout):
    """As the long way reads a row: its conversations, and the fields that nothing reads."""
    return parsing.parse_row(RawRow(1, value), layout, DEFAULT), ignored.find_ignored(
        value, ignored.read_fields(layout)
    )


@pytest.mark.parametrize(
    "row, fields",
    [
        ({"messages": talk("a", "b\n")}, {}),
        ({"id": 0, "messages": [{"content": "é", "role": "developer"}, *talk("a", "")]}, {}),
        ({"messages": [{"from": "human", "value": "a"}, {"value": " ", "from": "gpt"}], "id": "a 1"}, {}),
        ({"conversations": [{"from": "human", "value": "a"}, {"from": "bot", "value": "b"}]}, {}),
        ({"chat": talk("a", "b"), "number": 3}, {"messages": "chat", "id": "number"}),
        ({"messages": talk("a", "b"), "source": "web", "score": 0.5, "is_new": False, "note": " ", "more": None}, {}),
    ],
)
def test_a_chat_of_texts_is_read_straight(row, fields):
    chats = PlainChats(layout(row, **fields))
    chat = chats.parse(RawRow(1, row))
    assert chat is not None
    assert ([chat], set(chats.find_ignored(row))) == read_in_turn(row, layout(row, **fields))


@pytest.mark.parametrize(
    "row, fields",
    [
        ({"question": "a", "answer": "b"}, {}),
        ({"messages": talk("a", "b"), "id": 3}, {"group": "id"}),
        ({"messages": talk("a", "b"), "id": "train"}, {"split": "id"}),
        ({"messages": talk("a", "b"), "images": []}, {}),
        ({"messages": talk("a", "b"), "tools": "none"}, {}),
        ({"messages": talk("a", "b"), "label": True}, {}),
    ],
)
def test_a_row_that_says_more_is_left_to_the_long_way(row, fields):
    assert PlainChats(layout(row, **fields)).parse(RawRow(1, row)) is None


def test_a_row_that_cannot_be_read_is_left_to_the_long_way():
    chats = PlainChats(layout())
    assert chats.parse(RawRow(1, {"messages": talk("a", "b")}, "broken")) is None
    assert chats.parse(RawRow(1, [])) is None
    assert PlainChats(None).parse(RawRow(1, {"messages": talk("a", "b")})) is None


def make_turn(draw):
    names = draw.choice([("role", "content"), ("from", "value"), ("speaker", "text"), draw.sample(KEYS, 3)])
    keys = [key for key in names if draw.random() < 0.97]
    turn = {key: draw.choice(SPEAKERS[: draw.choice([2, 4, 12])] if nth == 0 else TEXTS[: draw.choice([2, 3, 13])])
            for nth, key in enumerate(keys)}  # fmt: skip
    return draw.choice([turn] * 40 + ["a", None, ["user", "a"], [turn]])


def make_row(draw):
    row = {"messages": [make_turn(draw) for _ in range(draw.choice([1, 2, 2, 3, 0]))]}
    if draw.random() < 0.5:
        row["id"] = draw.choice(IDS)
    if draw.random() < 0.3:
        row[draw.choice(COLUMNS)] = draw.choice(IDS + TEXTS)
    return row


def test_whatever_is_read_straight_the_long_way_reads_alike():
    draw, chats, known, straight = random.Random(5), PlainChats(layout()), layout(), 0
    for _ in range(12000):
        row = make_row(draw)
        chat = chats.parse(RawRow(1, row))
        if chat is not None:
            straight += 1
            assert ([chat], set(chats.find_ignored(row))) == read_in_turn(row, known)
    assert straight > 900
