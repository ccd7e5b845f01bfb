import gc
import random

import pytest
from prepare_stage import LONG, QUESTION, ids, numbered, qa
from single_rows import talk
from split_rows import places

from refrain.data.splitting import crowds
from refrain.data.splitting.near_prompts import NearSearch


@pytest.mark.parametrize(
    "asked, place",
    [
        (QUESTION + " now!", "duplicates"),
        ("Well: " + QUESTION.upper() + " now", "duplicates"),
        (QUESTION.replace("Earth", "Mars"), "train"),
        ("Water is salty in all the oceans, on Earth of the how much", "train"),
    ],
)
def test_a_question_worded_nearly_like_a_held_out_one_leaves_train(prepare, asked, place):
    files = prepare(("a.jsonl", [qa(asked, "other"), qa("z")], {}), ("b.jsonl", [qa(QUESTION)], {"split": "val"}))
    assert "0-a.jsonl:1" in ids(files[place])
    assert all((row["reason"], row["of"]) == ("near_leak", "1-b.jsonl:1") for row in files["duplicates"])


@pytest.mark.parametrize(
    "one, other",
    [
        (qa("5 + 3"), qa("5 - 3")),
        (qa("?!"), qa("...")),
        (qa("one") | {"system": LONG}, qa("two") | {"system": LONG}),
    ],
)
def test_signs_count_and_system_turns_do_not(prepare, one, other):
    files = prepare(("a.jsonl", [one], {}), ("b.jsonl", [other], {"split": "test"}))
    assert len(files["train"]) == 1


NEAR = [f"{LONG} and number {number} of them all" for number in range(40)]


def chats(count, per):
    """So many chats, each of some questions that have nothing in common but the chat."""
    rows = numbered(count * per)
    return [{**row, "chat": f"chat {number // per}"} for number, row in enumerate(rows)]


def test_near_copies_stand_in_one_split_and_none_is_lost(prepare):
    rows = [qa(asked) for asked in NEAR] + numbered(200)
    files = prepare(("a.jsonl", rows, {}), val=0.3, test=0.3)
    assert not files["duplicates"]
    assert len({name for line, name in places(files).items() if int(line) <= len(NEAR)}) == 1
    assert {len(files[name]) > 30 for name in ("train", "val", "test")} == {True}


def test_what_was_searched_is_freed_before_the_next_search(prepare):
    gc.collect()
    gc.disable()
    try:
        prepare(("a.jsonl", [qa(asked) for asked in NEAR], {}))
        assert not [each for each in gc.get_objects() if isinstance(each, NearSearch)]
    finally:
        gc.enable()


def test_rows_of_one_group_stand_in_one_split(prepare):
    rows = chats(60, 5)
    files = prepare(("a.jsonl", rows, {"fields": {"group": "chat"}}), val=0.3, test=0.3)
    assert not files["duplicates"]
    of_chat = {}
    for line, name in places(files).items():
        of_chat.setdefault(rows[int(line) - 1]["chat"], set()).add(name)
    assert {len(names) for names in of_chat.values()} == {1}
    assert set().union(*of_chat.values()) == {"train", "val", "test"}


def test_a_group_reaches_over_files_and_a_held_out_one_stays_whole(prepare):
    fields = {"fields": {"group": "chat"}}
    one, other = chats(2, 3)[:3], [{**qa("zzz", "No."), "chat": "chat 0"}, {**qa("yyy"), "chat": "chat 9"}]
    files = prepare(("a.jsonl", other, fields), ("b.jsonl", one, {**fields, "split": "test"}))
    assert [(row["id"], row["reason"], row["of"]) for row in files["duplicates"]] == [
        ("0-a.jsonl:1", "group_leak", "1-b.jsonl:1")
    ]
    assert ids(files["train"]) == ["0-a.jsonl:2"]


def test_rows_that_are_added_at_the_end_move_no_earlier_one(prepare):
    """Also when they are near to rows, or of a group, that stand in different splits."""
    rows = [qa(asked) | {"chat": f"chat {n % 7}"} for n, asked in enumerate(f"{w} " * 9 + LONG for w in "abcdefghij")]
    rows += chats(30, 3)
    more = [{**qa(f"{rows[n]['question']} now", "New."), "chat": f"chat {(n + 5) % 30}"} for n in range(60)]
    fields = {"fields": {"group": "chat"}}
    few = places(prepare(("a.jsonl", rows, fields), val=0.3, test=0.3))
    many = places(prepare(("a.jsonl", rows + more, fields), val=0.3, test=0.3))
    assert few.items() <= many.items()
    assert len(set(few.values())) == 3


def test_what_is_near_to_rows_of_two_splits_goes_nowhere(prepare):
    one, bridge, other = f"a b c {LONG}", LONG, f"d e f {LONG}"
    files = prepare(
        ("a.jsonl", [qa(bridge)], {}),
        ("b.jsonl", [qa(one), qa("z")], {"split": "train"}),
        ("c.jsonl", [qa(other)], {"split": "val"}),
        leaks={"contamination_ngram": None},
    )
    assert [(row["id"], row["of"]) for row in files["duplicates"]] == [("0-a.jsonl:1", "2-c.jsonl:1")]


def test_a_declared_val_row_may_not_be_near_to_a_test_row(prepare):
    files = prepare(
        ("a.jsonl", [qa("z")], {}),
        ("b.jsonl", [qa(QUESTION)], {"split": "val"}),
        ("c.jsonl", [qa(QUESTION + " now")], {"split": "test"}),
    )
    assert [(row["id"], row["reason"]) for row in files["duplicates"]] == [("1-b.jsonl:1", "near_leak")]


@pytest.mark.parametrize("answers, kept", [("keep", [1, 2, 4, 5]), ("first", [1, 4, 5]), ("drop", [4, 5])])
def test_other_answers_to_one_prompt_are_kept_or_not(prepare, answers, kept):
    rows = [qa("a?"), qa("A?", "No."), qa("a?"), qa("b?"), {"prompt": "b?", "chosen": "x", "rejected": "y"}]
    files = prepare(("a.jsonl", rows[:4], {}), ("b.jsonl", rows[4:], {}), policies={"answers": answers})
    names = {"0-a.jsonl:1": 1, "0-a.jsonl:2": 2, "0-a.jsonl:4": 4, "1-b.jsonl:1": 5}
    assert [names[id] for id in ids(files["train"])] == kept
    reasons = [row["reason"] for row in files["duplicates"]]
    assert sorted(reasons) == ["duplicate", *["other_answer"] * (4 - len(kept))]


def test_a_crowd_of_like_wording_stands_together(prepare, monkeypatch):
    """Comparing each with each would take the square of their number."""
    monkeypatch.setattr("refrain.data.splitting.crowds.CROWD", 20)
    crowd = [qa(f"{LONG} {number} {number}x {number}y") for number in range(100)]
    files = prepare(("a.jsonl", crowd + numbered(9), {}), val=0.3, test=0.3, leaks={"near_duplicate_threshold": 0.7})
    assert len({name for line, name in places(files).items() if int(line) <= 100}) == 1
    assert len(places(files)) == 109


def test_a_crowd_is_known_from_its_groups_as_from_all_its_members(prepare, monkeypatch):
    monkeypatch.setattr(crowds, "CROWD", 10)
    rng = random.Random(1)
    asked = [f"{LONG} {rng.randrange(40)} {rng.randrange(9)}x" for _ in range(120)]
    chats = [{"messages": talk("hello there", "yes?", text, "so")} for text in asked[60:]]
    sources = [
        ("a.jsonl", [qa(text) for text in asked[:60]], {}),
        ("b.jsonl", chats[:20], {"split": "val"}),
        ("c.jsonl", chats[20:40], {"split": "train"}),
        ("d.jsonl", chats[40:], {}),
    ]
    settings = {"val": 0.3, "test": 0.3, "leaks": {"near_duplicate_threshold": 0.9}}
    files = prepare(*sources, **settings)
    asked_of = []
    monkeypatch.setattr(
        crowds.CrowdMembers,
        "earlier_candidates",
        lambda self, prompt: asked_of.append(prompt) or self.search.earlier_candidates(prompt),
    )
    assert prepare(*sources, **settings) == files
    assert len(asked_of) > 30 and all(files[name] for name in ("train", "val", "duplicates"))


def test_without_a_share_only_equal_prompts_are_one(prepare):
    files = prepare(
        ("a.jsonl", [qa(QUESTION + " now"), qa(QUESTION.upper())], {}),
        ("b.jsonl", [qa(QUESTION)], {"split": "test"}),
        leaks={"near_duplicate_threshold": None, "contamination_ngram": None},
    )
    assert ids(files["train"]) == ["0-a.jsonl:1"]
