"""A question that is held out, asked in a turn of another row."""

import prepare_stage
import pytest
from prepare_stage import ids, qa

ASKED = "What is amber?"


def chat(*texts):
    return {"messages": [{"role": ("user", "assistant")[n % 2], "content": text} for n, text in enumerate(texts)]}


@pytest.mark.parametrize(
    "row",
    [
        chat(ASKED, "A resin.", "Where is it found?", "In Poland."),
        chat("Hi", "Hello.", "what IS  \uff41mber", "A resin."),
        chat("x", "y", "Hi! What is amber?", "A resin."),
        chat("Please help me: what is amber?", "A resin."),
        chat("Say what you want to know.", ASKED),
        chat("x", "What is amber!", "y", "z"),
        {"prompt": "Ask me.", "chosen": "No.", "rejected": ASKED},
    ],
)
@pytest.mark.parametrize("split", ["test", "val"])
def test_a_question_of_a_declared_file_stands_in_no_turn_of_a_training_row(prepare, row, split):
    files = prepare(("a.jsonl", [row], {}), ("b.jsonl", [qa(ASKED)], {"split": split}), ("c.jsonl", [qa("z")], {}))
    assert ids(files[split]) == ["1-b.jsonl:1"]
    assert [(lost["id"], lost["reason"], lost["of"]) for lost in files["duplicates"]] == [
        ("0-a.jsonl:1", "exact_leak", "1-b.jsonl:1")
    ]


@pytest.mark.parametrize(
    "row",
    [
        chat("What is amber used for?", "Jewels."),
        chat("In all the many books that I have read, what is amber?", "A resin."),
        chat("x", "The question what is amber has been asked.", "y", "z"),
        chat("What is", "Amber?", "y", "z"),
    ],
)
def test_the_words_of_a_short_question_within_others_are_no_leak(prepare, row):
    files = prepare(("a.jsonl", [row], {}), ("b.jsonl", [qa(ASKED)], {"split": "test"}))
    assert ids(files["train"]) == ["0-a.jsonl:1"]


def test_a_greeting_of_the_exam_hides_nothing_either(prepare):
    files = prepare(("a.jsonl", [qa(ASKED), qa("z")], {}), ("b.jsonl", [qa(f"Hello! {ASKED}")], {"split": "test"}))
    assert ids(files["train"]) == ["0-a.jsonl:2"]


def test_however_many_rows_ask_it(prepare):
    rows = [chat(ASKED, f"Resin {n}.", f"Why {n}?", "So.") for n in range(30)]
    files = prepare(("a.jsonl", [*rows, chat("z", "Yes.")], {}), ("b.jsonl", [qa(ASKED)], {"split": "test"}))
    assert ids(files["train"]) == ["0-a.jsonl:31"]


LAST = "Which of the two would you rather take home?"


@pytest.mark.parametrize("last, times, lost", [(LAST, 10, 10), (LAST, 11, 0), ("Yes, that is right.", 1, 0)])
def test_the_last_question_of_a_held_out_chat_counts_if_it_is_no_phrase(prepare, last, times, lost):
    rows = [chat(f"question{n}", f"answer{n}", last, "No.") for n in range(times)]
    exam = chat("Red or blue?", "Both.", last, "Blue.")
    exams, rest = ("b.jsonl", [exam], {"split": "test"}), ("c.jsonl", [qa("z")], {})
    files = prepare(("a.jsonl", rows, {}), exams, rest)
    assert len(files["duplicates"]) == lost


def test_a_chat_that_begins_as_a_held_out_one_leaves_train(prepare):
    turns = ["One?", "Two.", "Three?", "Four.", "Five?", "Six."]
    rows = [chat(*turns), chat("Other.", *turns[1:])]
    files = prepare(("a.jsonl", rows, {}), ("b.jsonl", [chat(*turns[:3], "Not four.")], {"split": "test"}))
    assert ids(files["train"]) == ["0-a.jsonl:2"]


def test_without_a_declared_split_chats_join_what_they_ask_and_none_is_lost(prepare):
    rows = [chat(f"Who made thing{n} then?", "You.") for n in range(60)]
    rows += [chat(f"who made thing{n} then", "Me.", f"Why then{n}?", "So.") for n in range(0, 120, 2)]
    rows += [chat(f"Who made thing{n} then?", "You.") for n in range(60, 120)]
    files = prepare(("a.jsonl", rows, {}), val=0.3, test=0.3)
    assert not files["duplicates"]
    train = {turn["content"].lower().rstrip("?") for row in files["train"] for turn in row["messages"]}
    held_out = [row["messages"] for name in ("val", "test") for row in files[name]]
    assert not [turns for turns in held_out if len(turns) == 2 and turns[0]["content"].lower().rstrip("?") in train]
    assert all(len(files[name]) > 20 for name in ("train", "val", "test"))


def test_a_question_that_is_too_short_is_named(prepare):
    rows = [chat("Amber?", "A resin.", f"Why {n}?", "So.") for n in range(2)]
    exam = [qa("Amber?"), qa("Basalt?"), qa("What is chert?")]
    files = prepare(("a.jsonl", rows, {}), ("b.jsonl", exam, {"split": "test"}))
    assert len(files["train"]) == 2
    named = {"id": "1-b.jsonl:1", "question": "Amber?", "training_rows": 2}
    assert prepare_stage.report()["short_questions"] == [named]
    assert "| `1-b.jsonl:1` | `` Amber? `` | 2 |" in prepare_stage.paths.DATA_SHEET.read_text()
