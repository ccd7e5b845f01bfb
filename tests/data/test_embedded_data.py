"""The embedded data is what its card says, and no test wording can be met in training."""

import csv
import json
import re
from collections import Counter

from places import ROOT

RAW = ROOT / "data/raw"
CARD = (RAW / "README.md").read_text()


def lines(name):
    return [json.loads(line) for line in (RAW / name).read_bytes().split(b"\n") if line]


QUESTIONS, HELD_OUT = lines("questions.jsonl"), lines("questions-test.jsonl")
CHATS, PAIRS = json.loads((RAW / "chats.json").read_text()), lines("preferences.jsonl")
INSTRUCTIONS = list(csv.DictReader((RAW / "instructions.csv").open(newline="")))
CORPUS = [line for line in (RAW / "corpus.txt").read_text().split("\n") if line]


def words(text):
    return frozenset(re.findall(r"\w+", text.lower()))


def test_every_fact_has_several_wordings_one_answer_and_one_test_question():
    wordings = Counter(row["answer"] for row in QUESTIONS)
    assert len(wordings) == len(HELD_OUT) == 170
    assert min(wordings.values()) >= 10
    assert {row["answer"] for row in HELD_OUT} == set(wordings)
    assert {row["topic"] for row in HELD_OUT} == {"water", "air", "waste", "energy", "climate", "soil", "species"}
    assert all(row["source"] for row in QUESTIONS + HELD_OUT)


def test_no_test_wording_nor_a_near_copy_is_in_anything_that_is_learned():
    prompts = [row["question"] for row in QUESTIONS] + [row["prompt"] for row in PAIRS]
    prompts += [turn["content"] for chat in CHATS for turn in chat["messages"]]
    prompts += [f"{row['instruction']} {row['input']}" for row in INSTRUCTIONS]
    learned = [words(text) for text in prompts]
    text = "\n".join(CORPUS).lower()
    for row in HELD_OUT:
        asked = words(row["question"])
        assert max(len(asked & other) / len(asked | other) for other in learned) < 0.8, row["question"]
        assert row["question"].lower() not in text


def test_chats_alternate_and_end_with_an_answer():
    assert len(CHATS) == 66
    for chat in CHATS:
        roles = [turn["role"] for turn in chat["messages"] if turn["role"] != "system"]
        assert roles == ["user", "assistant"] * (len(roles) // 2)
        assert len(roles) >= 4


def test_half_of_the_instructions_carry_an_input():
    assert Counter(bool(row["input"]) for row in INSTRUCTIONS) == {True: 64, False: 64}


def test_flaws_of_rejected_answers_come_in_equal_parts():
    assert Counter(row["flaw"] for row in PAIRS) == dict.fromkeys(["wrong", "rude", "evasive", "long"], 40)
    assert all(row["chosen"] != row["rejected"] for row in PAIRS)


def test_the_card_counts_right():
    rows = [len(QUESTIONS), len(HELD_OUT), len(CHATS), len(INSTRUCTIONS), len(PAIRS), len(CORPUS)]
    counted = re.findall(r"^\| `[\w.-]+` \|.*?\| ([\d,]+) \|", CARD, flags=re.MULTILINE)
    assert [int(count.replace(",", "")) for count in counted] == rows
