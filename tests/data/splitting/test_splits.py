"""Every question in one split, and nothing held out in train."""

import itertools
from collections import Counter

import prepare_stage
import pytest
from prepare_stage import ids, numbered, qa, split_of


def test_a_question_may_have_several_answers_but_only_one_split(prepare):
    rows = [
        qa(f"{question} {number}?", f"answer {case}")
        for number in range(30)
        for case, question in enumerate(["Which", "WHICH", "\uff37hich \n"])
    ]
    files = prepare(("a.jsonl", rows, {}), val=0.3, test=0.3)
    places = {}
    for name in ("train", "val", "test"):
        for row in files[name]:
            places.setdefault(row["messages"][0]["content"][-3:], []).append(name)
    assert all(len(set(names)) == 1 for names in places.values())
    assert {names[0] for names in places.values()} == {"train", "val", "test"}


@pytest.mark.parametrize("other", [qa("Held out?", "YES."), {**qa("Held out?"), "system": "Be kind."}])
def test_another_answer_or_another_system_turn_is_no_duplicate(prepare, other):
    assert len(prepare(("a.jsonl", [qa("Held out?"), other], {}))["train"]) == 2


def test_a_preference_is_no_duplicate_of_its_better_answer(prepare):
    better = {"prompt": "Held out?", "chosen": "Yes."}
    pairs = [better | {"rejected": "No."}, better | {"rejected": "Nah."}, better | {"rejected": "No."}]
    files = prepare(("a.jsonl", [qa("Held out?")], {}), ("b.jsonl", pairs, {}))
    assert ids(files["train"]) == ["0-a.jsonl:1", "1-b.jsonl:1", "1-b.jsonl:2"]
    assert [row["of"] for row in files["duplicates"]] == ["1-b.jsonl:1"]


def labelled_row(prompt, completion, label):
    return {"prompt": prompt, "completion": completion, "label": label}


def test_a_good_and_a_bad_reply_to_one_prompt_share_its_split_and_no_bad_one_is_an_exam(prepare):
    rows = [
        labelled_row(row["question"], answer, answer == "good") for row in numbered(60) for answer in ("good", "bad")
    ]
    files = prepare(("a.jsonl", rows, {}), val=0.3, test=0.3, method="kto")
    sides = {name: Counter(row["label"] for row in files[name]) for name in ("train", "val", "test")}
    assert all(sides[name][True] == sides[name][False] > 5 for name in ("train", "val"))
    assert (
        sides["test"][False]
        == 0
        < sides["test"][True]
        == sum(row["reason"] == "bad_reply" for row in files["quarantine"])
    )
    asked = split_of(files)
    assert not (asked["train"] & asked["val"] or asked["train"] & asked["test"] or asked["val"] & asked["test"])
    counts = prepare_stage.report()["sources"]["0-a.jsonl"]
    assert counts["bad_replies"] == {name: sides[name][False] for name in ("train", "val")}
    assert counts["set_aside"] == len(files["quarantine"]) == counts["reasons"]["bad_reply"]


@pytest.mark.parametrize("method", ["lora", "dpo"])
def test_a_bad_reply_is_set_aside_where_no_method_learns_from_it(prepare, method):
    rows = [labelled_row(f"Why {number}?", f"So {number}.", number % 2 == 0) for number in range(20)]
    files = prepare(("a.jsonl", rows, {}), ("b.jsonl", [qa("Where?")], {}), val=0.3, method=method)
    assert all(row.get("label") is not False for name in ("train", "val", "test") for row in files[name])
    assert [(row["reason"], row["id"]) for row in files["quarantine"]] == [
        ("bad_reply", f"0-a.jsonl:{number + 1}") for number in range(1, 20, 2)
    ]
    counts = prepare_stage.report()["sources"]["0-a.jsonl"]
    assert "bad_replies" not in counts and counts["set_aside"] == 10 and counts["train"] + counts["val"] == 10


@pytest.mark.parametrize(
    "answers, kept", [("keep", ["1", "2", "3", "4"]), ("first", ["1", "2", "4"]), ("drop", ["2", "4"])]
)
def test_a_bad_reply_is_no_other_answer(prepare, answers, kept):
    rows = [
        labelled_row("Why?", "Yes.", True),
        labelled_row("Why?", "No.", False),
        labelled_row("why?", "So.", True),
        labelled_row("Why?", "Hm.", False),
    ]
    files = prepare(
        ("a.jsonl", [*rows, labelled_row("WHY? ", "Hm.", False)], {}), policies={"answers": answers}, method="kto"
    )
    assert [row["id"].rpartition(":")[2] for row in files["train"]] == kept
    assert files["duplicates"][-1]["reason"] == "duplicate"


def test_a_reply_that_rows_call_good_and_bad_is_not_learned(prepare):
    rows = [
        labelled_row("Why?", "So.", True),
        labelled_row("Why?", "No.", False),
        labelled_row("why?", "So.", False),
        labelled_row("Why?", "So.", True),
    ]
    files = prepare(("a.jsonl", rows, {}), ("b.jsonl", [qa("Why?", "No."), qa("Where?", "No.")], {}))
    assert ids(files["train"]) == ["1-b.jsonl:2"]
    assert [(row["reason"], row["of"]) for row in files["duplicates"]] == [
        ("other_label", "0-a.jsonl:3"), ("other_label", "1-b.jsonl:1"), ("other_label", "0-a.jsonl:1"),
        ("other_label", "0-a.jsonl:3"), ("other_label", "0-a.jsonl:2"),
    ]  # fmt: skip


@pytest.mark.parametrize("order", [*itertools.permutations(["train", "val", "test", None])])
def test_a_declared_split_wins_whatever_the_order_of_the_files(prepare, order):
    rows = {split: [qa("one"), qa("three", split)] for split in ("test", "val", "train")}
    rows[None] = [qa("one"), qa("two")]
    rows["val"].append(qa("two", "No."))
    rows["train"].append(qa("four"))
    rows[None].append(qa("four", "No."))
    files = prepare(*((f"{split}.jsonl", rows[split], {"split": split}) for split in order), val=0.5, test=0.49)
    assert split_of(files) == {"test": {"one", "three"}, "val": {"two"}, "train": {"four"}}
    assert len(files["train"]) == 2
    assert {row["reason"] for row in files["duplicates"]} == {"exact_leak"}


def test_more_rows_move_no_row_and_another_seed_moves_some(prepare):
    some = split_of(prepare(("a.jsonl", numbered(60), {}), val=0.2, test=0.2))
    more = split_of(prepare(("b.jsonl", [*reversed(numbered(120))], {}), val=0.2, test=0.2))
    other = split_of(prepare(("a.jsonl", numbered(60), {}), val=0.2, test=0.2, seed=2))
    assert all(some[name] <= more[name] for name in some)
    assert other != some


def test_the_fractions_are_kept(prepare):
    files = prepare(("a.jsonl", numbered(2000), {}), val=0.1, test=0.3)
    assert len(files["val"]) == pytest.approx(200, abs=60)
    assert len(files["test"]) == pytest.approx(600, abs=90)


def test_a_share_of_the_training_rows_is_part_of_a_larger_one_and_leaves_val_and_test_alone(prepare):
    rows = numbered(200)
    files = {
        share: prepare(("a.jsonl", rows, {}), val=0.1, test=0.1, train_fraction=share) for share in (0.25, 0.5, 1.0)
    }
    asked = {share: split_of(found) for share, found in files.items()}
    assert asked[0.25]["train"] < asked[0.5]["train"] < asked[1.0]["train"]
    assert 0.15 < len(asked[0.25]["train"]) / len(asked[1.0]["train"]) < 0.35
    assert all(found[split] == asked[1.0][split] for found in asked.values() for split in ("val", "test"))
    left_out = [row["reason"] for row in files[0.25]["quarantine"]]
    assert set(left_out) == {"beyond_fraction"}
    assert len(left_out) == len(files[1.0]["train"]) - len(files[0.25]["train"])
