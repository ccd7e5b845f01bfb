"""What a stranger finds in the splits of awkward rows: nothing."""

import random

import pytest
import split_judge
from prepare_stage import qa

WORDS = ["ha", "the", "tide", "x", "+", "-", "12", "7", "is", "of", "moon", "caf\u00e9", "\u6f6e", "what", "river"]
GREETINGS = ["", "", "Hi! ", "Please help me: ", "Good morning \U0001f642, "]


def question(rng, pool):
    """A new one, or an old one with a word more, less or other, other signs, or said over and over."""
    if len(pool) < 8 or rng.random() < 0.3:
        return [rng.choice(WORDS) for _ in range(rng.randint(1, 24))]
    old = list(rng.choice(pool))
    at = rng.choice([0, len(old) - 1, rng.randrange(len(old))])
    old[at : at + rng.randint(0, 1)] = rng.choice([[], ["zebra"], ["+", "-"], [rng.choice(WORDS)]])
    return (old * rng.randint(1, 3) if rng.random() < 0.2 else old) or ["moon"]


def chat(rng, pool):
    """One to three questions with short replies that are often the same, perhaps behind greetings."""
    messages = []
    for _ in range(rng.choice([1, 1, 2, 3])):
        asked = question(rng, pool)
        pool.append(asked)
        text = rng.choice(GREETINGS) + rng.choice([" ", "  ", "\n"]).join(asked) + rng.choice(["", "?", " ?!"])
        messages.append({"role": "user", "content": text})
        messages.append({"role": "assistant", "content": rng.choice(["Yes.", "No, the moon is.", "Ha ha ha ha ha"])})
    return {"messages": messages}


def awkward_rows(seed, count):
    rng, pool = random.Random(seed), []
    return [chat(rng, pool) for _ in range(count)]


@pytest.mark.parametrize("declared", [False, True])
@pytest.mark.parametrize("size", [1, 3, 8])
def test_a_stranger_finds_no_held_out_row_in_train(prepare, size, declared):
    rows = awkward_rows(size, 420)
    sources = [("a.jsonl", rows[:300], {}), ("b.jsonl", rows[300:], {"split": "test"} if declared else {})]
    leaks = {"ngram_size": size, "contamination_ngram": None}
    files = prepare(*sources, val=0.1, test=0.1, leaks=leaks)
    train, held_out = ([row["messages"] for row in rows] for rows in (files["train"], files["val"] + files["test"]))
    assert split_judge.find_leaks(train, held_out) == []
    assert len(train) > 40 and len(held_out) > 20
    messages = [row["messages"] for row in rows]
    assert {why for why, _, _ in split_judge.find_leaks(messages[::2], messages[1::2])} == {
        "near prompt",
        "near questions",
        "asked",
    }


def test_templates_that_many_rows_share_are_no_leaks(prepare):
    """Each in a split of its own choice, and none lost."""
    rows = [qa(f"What is the capital of the country number{n}", f"City {n}.") for n in range(200)]
    rows += [qa(f"What is {n} + {m}?", str(n + m)) for n in range(12) for m in range(12)]
    rows += [qa(f"Translate to French:\n\nword{n} is{n} here{n}") for n in range(100)]
    files = prepare(("a.jsonl", rows, {}), val=0.2, test=0.2)
    assert not files["duplicates"]
    assert all(len(files[name]) > 60 for name in ("train", "val", "test"))
