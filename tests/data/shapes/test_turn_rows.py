"""Rows that are single turns become conversations, and none of them takes another's place."""

import prepare_stage
import pytest

from refrain.data.readers.raw_rows import RawRow
from refrain.data.shapes import recognition
from refrain.data.shapes.turn_rows import TurnGrouping
from refrain.pipeline.schema import SourceConfig

COLUMNS = {"role": "sender", "content": "message", "conversation": "ticket"}


def group(*turns, assistant=None, columns=COLUMNS):
    """What these rows become: the words of each conversation by who says them, or why there is none, by line."""
    raws = [turn if isinstance(turn, RawRow) else RawRow(line, dict(zip(columns.values(), turn, strict=False)))
            for line, turn in enumerate(turns, 1)]  # fmt: skip
    return {
        raw.line: raw.error or [(turn["role"], turn["content"]) for turn in raw.value["messages"]]
        for raw in TurnGrouping(columns, assistant).conversations(raws)
    }


def test_rows_of_one_id_are_one_conversation_wherever_they_stand():
    assert group(("user", "a?", 1), ("user", "b?", 2), ("bot", "a.", 1), ("bot", "b.", "2"), ("user", "c?", "1")) == {
        1: [("user", "a?"), ("bot", "a."), ("user", "c?")],
        2: [("user", "b?"), ("bot", "b.")],
    }


def test_without_ids_a_question_and_its_replies_are_one():
    turns = [
        ("system", "s"),
        ("user", "a?"),
        ("user", "b?"),
        ("bot", "c."),
        ("bot", "d."),
        ("user", "e?"),
        ("bot", "f."),
    ]
    columns = {name: column for name, column in COLUMNS.items() if name != "conversation"}
    assert group(*turns, columns=columns) == {1: turns[:5], 6: turns[5:]}


def test_beside_a_named_assistant_everybody_is_the_user():
    turns = [("Anna", "a?", 1), ("Ben", "b?", 1), (" support", "c.", 1), ("system", "s", 2)]
    assert group(*turns, assistant="Support") == {
        1: [("user", "a?"), ("user", "b?"), ("assistant", "c.")],
        4: [("system", "s")],
    }


@pytest.mark.parametrize("has_ids", [True, False])
def test_a_broken_row_costs_the_conversations_beside_it_and_no_others(has_ids):
    columns = COLUMNS if has_ids else {name: COLUMNS[name] for name in ("role", "content")}
    chat = [turn for id in range(4) for turn in (("user", f"{id}?", id), ("bot", f"{id}.", id))]
    found = group(*chat[:3], RawRow(4, error="x"), *chat[4:], columns=columns)
    assert [isinstance(said, list) for _, said in sorted(found.items())] == [True, False, False, False, True]
    assert found[4] == "x" and "a turn may lack" in found[3] and "a turn may lack" in found[5]


def test_a_row_without_an_id_and_rows_that_disagree_are_named():
    assert group(("user", "a?", None)) == {1: "the row has no ticket"}
    raws = [
        RawRow(n, {"sender": "user", "message": "a?", "ticket": 1, "part": part}) for n, part in ((1, "a"), (2, "b"))
    ]
    (raw,) = TurnGrouping({**COLUMNS, "split": "part"}, None).conversations(raws)
    assert raw.error == "the rows of its conversation disagree on part"


def recognise(*rows, **source):
    raws = [RawRow(line, row) for line, row in enumerate(rows, 1)]
    return recognition.recognise_layout(SourceConfig("x.csv", **source), raws)


HELPDESK = [
    {"thread_id": n // 2, "from": name, "body": "x y"} for n, name in enumerate(("Anna", "Help", "Ben", "Help"))
]


def test_people_whose_roles_nobody_knows_are_asked_for():
    with pytest.raises(ValueError, match=r"each body said by its from, which names Help \(4\), Anna \(2\), Ben \(2\); "
                       "say beside the path .*, such as `assistant: Help`$"):  # fmt: skip
        recognise(*HELPDESK, *HELPDESK)
    layout = recognise(*HELPDESK, assistant="help")
    assert layout.read == {"role": "from", "content": "body", "conversation": "thread_id"}
    with pytest.raises(ValueError, match=r"assistant: Halp says nothing in its first rows; from names Help \(2\)"):
        recognise(*HELPDESK, assistant="Halp")


def test_messages_of_trees_are_no_table_of_turns():
    rows = [{"message_id": n, "parent_id": None, "role": "prompter", "text": "x"} for n in range(3)]
    with pytest.raises(ValueError, match="single messages of trees"):
        recognise(*rows)


def test_a_table_of_turns_is_prepared_as_its_conversations(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rows = [
        {"chat_id": n // 2, "role": ("user", "assistant")[n % 2], "content": f"{n} {n}", "mood": "x"} for n in range(8)
    ]
    rows[5]["content"] = " "
    splits = prepare_stage.run(("x.jsonl", rows, {}))
    assert [row["id"] for row in splits["train"]] == ["0-x.jsonl:1", "0-x.jsonl:3", "0-x.jsonl:7"]
    assert [(row["line"], row["reason"]) for row in splits["quarantine"]] == [(5, "empty_text")]
    source = prepare_stage.report()["sources"]["0-x.jsonl"]
    assert (source["layout"]["shape"], source["rows"], source["ignored"]) == ("turns", 4, {"messages[].mood": 4})
