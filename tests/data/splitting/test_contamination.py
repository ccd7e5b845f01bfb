"""Questions that are held out, said within training rows."""

import pickle

import numpy as np
import prepare_stage
import pytest
from prepare_stage import qa

from refrain.data.splitting.contamination import ShingleSearch

WORDS = ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve", "thirteen"]
ASKED = " ".join(WORDS[:13])


@pytest.fixture
def prepare(tmp_path, monkeypatch):
    """Run the stage on training rows beside one held-out question of thirteen words; the lines that were left out."""
    monkeypatch.chdir(tmp_path)

    def run(rows, asked=ASKED, **values):
        files = prepare_stage.run(
            ("a.jsonl", rows, {}),
            ("b.jsonl", [qa(each) for each in ([asked] if isinstance(asked, str) else asked)], {"split": "test"}),
            ("c.jsonl", [qa("clean")], {}),
            **values,
        )
        return [(row["line"], row["reason"], row["of"]) for row in files["duplicates"]]

    return run


@pytest.mark.parametrize(
    "row",
    [
        qa("Say it.", f"He said: \u201c{ASKED.upper()}\u201d and left."),
        qa(f"{'a b c d e f g h i j k l m n o p q ' * 2} {ASKED}!"),
        {"prompt": "Say it.", "chosen": "No.", "rejected": f"I say {ASKED}"},
        {"messages": [{"role": "user", "content": "x"}, {"role": "assistant", "content": f"Ah, {ASKED}?"},
                      {"role": "user", "content": "y"}, {"role": "assistant", "content": "z"}]},
    ],
)  # fmt: skip
def test_thirteen_words_of_a_held_out_question_are_found_anywhere_in_a_row(prepare, row):
    assert prepare([row]) == [(1, "contaminated", "1-b.jsonl:1")]


def test_twelve_words_are_no_leak(prepare):
    rows = [qa("Say it.", " ".join(WORDS[:12])), qa("Say all.", " ".join([*WORDS[1:], "zero"]))]
    assert prepare(rows) == []
    assert prepare(rows, leaks={"contamination_ngram": 12}) == [(n, "contaminated", "1-b.jsonl:1") for n in (1, 2)]


def test_a_run_of_words_does_not_reach_from_one_row_into_the_next(prepare):
    assert prepare([qa("a", " ".join(WORDS[:7])), qa(" ".join(WORDS[7:13]), "b")]) == []


def test_what_more_than_ten_rows_say_is_a_phrase(prepare):
    """Brown et al. 2020."""
    rows = [qa(f"number {n}", f"{ASKED} {n}") for n in range(11)]
    assert prepare(rows) == []
    assert len(prepare(rows[:10])) == 10


def test_a_phrase_and_one_more_word_prove_nothing(prepare):
    phrase = " ".join(WORDS[:12])
    rows = [qa(f"number {n}", f"so {phrase} end{n}") for n in range(11)]
    assert prepare(rows, asked=f"{phrase} end3") == []
    assert prepare([qa("x", f"so {phrase} end3")], asked=f"{phrase} end3") == [(1, "contaminated", "1-b.jsonl:1")]


def test_what_more_than_ten_held_out_questions_have_is_a_phrase(prepare):
    rows = [qa("x", f"{ASKED} and so on")]
    exam = [f"{ASKED} question{n}" for n in range(11)]
    assert prepare(rows, asked=exam[:10]) == [(1, "contaminated", "1-b.jsonl:1")]
    assert prepare(rows, asked=exam) == []


def test_it_can_be_switched_off(prepare):
    assert prepare([qa("Say it.", f"So {ASKED}"), qa("b")], leaks={"contamination_ngram": None}) == []


def test_the_same_is_found_by_small_portions_and_by_a_small_table(prepare, monkeypatch):
    monkeypatch.setattr("refrain.data.splitting.contamination.MAX_SIEVE_BITS", 6)
    monkeypatch.setattr("refrain.data.splitting.contamination.BATCH_WORDS", 30)
    monkeypatch.setattr("refrain.data.splitting.contamination.PIECE_WORDS", 8)
    monkeypatch.setattr("refrain.data.splitting.ragged.RaggedArray.batches.__defaults__", (8,))
    rows = [qa(f"number {n}", f"{ASKED} {n}" if n % 3 else "b") for n in range(9)]
    assert [line for line, _, _ in prepare(rows)] == [2, 3, 5, 6, 8, 9]


def test_a_search_takes_to_a_worker_nothing_that_it_has_read(tmp_path):
    for name in ("sieve", "wanted"):
        np.zeros(1 << 16).tofile(tmp_path / name)
    search = ShingleSearch(tmp_path, 13)
    assert search.sieve.nbytes == search.wanted.nbytes == 1 << 19
    sent = pickle.dumps(search)
    assert len(sent) < 1 << 10 and pickle.loads(sent) == search
