"""Variants are in train alone, each beside a parent, and none says what is held out."""

import prepare_stage
import pytest
from prepare_stage import LONG, ids, numbered, qa

PLEASE = {"paraphrases": ["Please tell me: {prompt}"]}


@pytest.fixture
def prepare(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return prepare_stage.run


def test_variants_stand_behind_all_rows_and_are_counted(prepare):
    files = prepare(("a.jsonl", numbered(30), {}), val=0.2, test=0.2, augment=PLEASE)
    rows = [row for row in files["train"] if "#" not in row["id"]]
    variants = files["train"][len(rows) :]
    assert ids(variants) == [f"{row['id']}#paraphrase-1" for row in rows]
    assert [row["parent"] for row in variants] == ids(rows)
    assert not any("#" in row["id"] for name in ("val", "test") for row in files[name])
    report = prepare_stage.report()
    assert report["variants"] == {"paraphrase": len(rows), "left_out": 0}
    assert report["rows"] == 30 and report["train"] == len(rows)


@pytest.mark.parametrize(
    "asked, held_out",
    [
        ("fog", "please TELL me fog"),
        (LONG, f"Please, tell me: {LONG} now"),
        (f"x {LONG}", f"{'a b c d e f g h i j k l m n o ' * 2} please tell me x how much of all the water on earth is"),
    ],
)
def test_a_variant_that_asks_what_is_held_out_is_not_made(prepare, asked, held_out):
    leaks = {"near_duplicate_threshold": 0.85, "contamination_ngram": None} if asked == LONG else {}
    files = prepare(
        ("a.jsonl", [qa(asked), qa("z")], {}),
        ("b.jsonl", [qa(held_out)], {"split": "test"}),
        augment=PLEASE,
        leaks=leaks,
    )
    assert ids(files["train"]) == ["0-a.jsonl:1", "0-a.jsonl:2", "0-a.jsonl:2#paraphrase-1"]
    assert prepare_stage.report()["variants"] == {"paraphrase": 1, "left_out": 1}


def test_without_augmentation_there_is_nothing_to_count(prepare):
    prepare(("a.jsonl", numbered(3), {}))
    assert prepare_stage.report()["variants"] == {}


def test_a_variant_that_is_too_long_is_not_made(prepare):
    row = qa("a", "b")
    prepare(("a.jsonl", [row], {}), augment=PLEASE)
    longest = prepare_stage.report()["lengths"]["tokens"]["train"]["p100"]
    files = prepare(("a.jsonl", [row, qa("a" * 99)], {}), augment=PLEASE, max_tokens=longest + 16)
    assert ids(files["train"]) == ["0-a.jsonl:1", "0-a.jsonl:1#paraphrase-1"]
    files = prepare(("a.jsonl", [row], {}), augment=PLEASE, max_tokens=longest + 15)
    assert ids(files["train"]) == ["0-a.jsonl:1"]
    assert prepare_stage.report()["variants"] == {"left_out": 1}
