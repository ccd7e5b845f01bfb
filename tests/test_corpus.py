"""Every row in one place, and nothing held out in train."""

import itertools
import json
import logging
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from refrain import corpus, paths, records
from refrain.config import Config, Data, Source
from stages import prepare


@pytest.fixture
def prepared(tmp_path, monkeypatch):
    """Run the stage on sources given as (name, content, settings); a list becomes JSON Lines."""
    monkeypatch.chdir(tmp_path)

    def run(*sources, val=0.0, test=0.0, seed=1):
        paths.LINKED_DATA.mkdir(parents=True, exist_ok=True)
        declared = [Source(f"some/{name}", **settings) for name, _, settings in sources]
        for index, (name, content, _) in enumerate(sources):
            lines = content if isinstance(content, str) else "".join(json.dumps(row) + "\n" for row in content)
            records.link(index, f"some/{name}").write_bytes(lines.encode())
        prepare.main(Config(seed=seed, data=Data("test", ".", declared, val, test)))
        return {file.stem: records.read(file) for file in paths.PREPARED.iterdir()}

    return run


def qa(question, answer="Yes."):
    return {"question": question, "answer": answer}


def ids(rows):
    return [row["id"] for row in rows]


def split_of(files):
    """The questions of each split."""
    return {name: {row["messages"][0]["content"] for row in files[name]} for name in ("train", "val", "test")}


def numbered(count):
    """Questions that share no three words."""
    return [qa(" ".join(f"{word}{number}" for word in "abcdef"), str(number)) for number in range(count)]


def test_every_row_ends_in_exactly_one_place(prepared):
    table = 'question,answer\n"two\nlines",Yes.\nshort\n,Yes.\ntwo lines,Yes.\nheld out?,No.\n'
    lines = '{"question": "a", "answer": "b"}\nbroken\n\n["c"]\n' + json.dumps(qa("Held  OUT?", "Maybe.")) + "\n"
    array = '[{"messages": []}, {"messages": [{"role": "user", "content": "a"}]},'
    files = prepared(
        ("a.csv", table, {}),
        ("b.jsonl", lines, {}),
        ("c.json", array, {}),
        ("d.jsonl", "", {}),
        ("e.jsonl", [qa("held out?"), qa("held out?"), qa("held out?", "No.")], {"split": "test"}),
        val=0.2,
    )
    assert sorted(ids(itertools.chain(*files.values()))) == [
        *(f"0-a.csv:{line}" for line in (2, 4, 5, 6, 7)),
        *(f"1-b.jsonl:{line}" for line in (1, 2, 4, 5)),
        *("2-c.json:1", "2-c.json:1.2", "2-c.json:1.3"),
        *(f"4-e.jsonl:{line}" for line in (1, 2, 3)),
    ]
    assert [(row["id"], row["reason"], row["of"]) for row in files["duplicates"]] == [
        ("0-a.csv:7", "exact_leak", "4-e.jsonl:1"),
        ("1-b.jsonl:5", "exact_leak", "4-e.jsonl:1"),
        ("0-a.csv:6", "duplicate", "0-a.csv:2"),
        ("4-e.jsonl:2", "duplicate", "4-e.jsonl:1"),
    ]
    assert [row["reason"] for row in files["quarantine"]] == [
        *("unreadable", "empty_text", "unreadable", "not_an_object", "no_reply", "no_reply", "unreadable"),
    ]
    assert {"source": "1-b.jsonl", "line": 2}.items() <= files["quarantine"][2].items()


def test_the_report_counts_what_the_files_hold(prepared, caplog):
    caplog.set_level(logging.INFO)
    files = prepared(("a.jsonl", [*numbered(40), qa(""), *numbered(3)], {}), ("b.jsonl", "", {}), val=0.3, test=0.3)
    text = paths.DATA_REPORT.read_text()
    report = json.loads(text)
    counts = {"duplicates": 3, "quarantined": 1, "rows": 44} | {n: len(files[n]) for n in ("train", "val", "test")}
    assert report == counts | {
        "reasons": {"duplicate": 3, "empty_text": 1},
        "sources": {"0-a.jsonl": counts, "1-b.jsonl": dict.fromkeys(counts, 0)},
    }
    assert text == json.dumps(report, indent=2, sort_keys=True) + "\n"
    assert len(caplog.messages) == 2
    assert caplog.messages[0].startswith("0-a.jsonl: 44 rows, ")


def test_a_lost_row_is_an_error_that_names_the_source():
    item = corpus.Item("0-a.csv", 2, {"id": "0-a.csv:2", "messages": []}, "train")
    with pytest.raises(ValueError, match=r"0-a\.csv: the rows do not add up"):
        corpus.report({"0-a.csv": 2}, [item], [], [])


def test_rows_keep_the_order_of_their_files(prepared):
    files = prepared(("a.jsonl", numbered(9), {}), ("b.jsonl", [qa("z")], {}))
    assert ids(files["train"]) == [*(f"0-a.jsonl:{line}" for line in range(1, 10)), "1-b.jsonl:1"]


def test_a_question_may_have_several_answers_but_only_one_split(prepared):
    rows = [
        qa(f"{question} {number}?", f"answer {case}")
        for number in range(30)
        for case, question in enumerate(["Which", "WHICH", "\uff37hich \n"])
    ]
    files = prepared(("a.jsonl", rows, {}), val=0.3, test=0.3)
    places = {}
    for name in ("train", "val", "test"):
        for row in files[name]:
            places.setdefault(row["messages"][0]["content"][-3:], []).append(name)
    assert all(len(set(names)) == 1 for names in places.values())
    assert {names[0] for names in places.values()} == {"train", "val", "test"}


@pytest.mark.parametrize("other", [qa("Held out?", "YES."), {**qa("Held out?"), "system": "Be kind."}])
def test_another_answer_or_another_system_turn_is_no_duplicate(prepared, other):
    assert len(prepared(("a.jsonl", [qa("Held out?"), other], {}))["train"]) == 2


def test_a_preference_is_no_duplicate_of_its_better_answer(prepared):
    better = {"prompt": "Held out?", "chosen": "Yes."}
    pairs = [better | {"rejected": "No."}, better | {"rejected": "Nah."}, better | {"rejected": "No."}]
    files = prepared(("a.jsonl", [qa("Held out?")], {}), ("b.jsonl", pairs, {}))
    assert ids(files["train"]) == ["0-a.jsonl:1", "1-b.jsonl:1", "1-b.jsonl:2"]
    assert [row["of"] for row in files["duplicates"]] == ["1-b.jsonl:1"]


@pytest.mark.parametrize("order", [*itertools.permutations(["train", "val", "test", None])])
def test_a_declared_split_wins_whatever_the_order_of_the_files(prepared, order):
    rows = {split: [qa("one"), qa("three", split)] for split in ("test", "val", "train")}
    rows[None] = [qa("one"), qa("two")]
    rows["val"].append(qa("two", "No."))
    rows["train"].append(qa("four"))
    rows[None].append(qa("four", "No."))
    files = prepared(*((f"{split}.jsonl", rows[split], {"split": split}) for split in order), val=0.5, test=0.49)
    assert split_of(files) == {"test": {"one", "three"}, "val": {"two"}, "train": {"four"}}
    assert len(files["train"]) == 2
    assert {row["reason"] for row in files["duplicates"]} == {"exact_leak"}


def test_more_rows_move_no_row_and_another_seed_moves_some(prepared):
    some = split_of(prepared(("a.jsonl", numbered(60), {}), val=0.2, test=0.2))
    more = split_of(prepared(("b.jsonl", [*reversed(numbered(120))], {}), val=0.2, test=0.2))
    other = split_of(prepared(("a.jsonl", numbered(60), {}), val=0.2, test=0.2, seed=2))
    assert all(some[name] <= more[name] for name in some)
    assert other != some


def test_the_fractions_are_kept(prepared):
    files = prepared(("a.jsonl", numbered(2000), {}), val=0.1, test=0.3)
    assert len(files["val"]) == pytest.approx(200, abs=60)
    assert len(files["test"]) == pytest.approx(600, abs=90)


QUESTION = "How much of all the water on Earth is salty water in the oceans"
LONG = QUESTION + ", the seas and the many bays of every shore"


@pytest.mark.parametrize(
    "asked, place",
    [
        (QUESTION + "!", "duplicates"),
        ("Well: " + QUESTION.upper(), "duplicates"),
        (QUESTION.replace("Earth", "Mars"), "train"),
        ("Water is salty in all the oceans, on Earth of the how much", "train"),
    ],
)
def test_a_question_worded_nearly_like_a_held_out_one_leaves_train(prepared, asked, place):
    files = prepared(("a.jsonl", [qa(asked, "other"), qa("z")], {}), ("b.jsonl", [qa(QUESTION)], {"split": "val"}))
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
def test_signs_count_and_system_turns_do_not(prepared, one, other):
    files = prepared(("a.jsonl", [one], {}), ("b.jsonl", [other], {"split": "test"}))
    assert len(files["train"]) == 1


def test_the_search_finds_what_comparing_all_with_all_finds():
    rng = random.Random(0)
    sets = [corpus.shingles(rng.choices("abc", k=rng.randint(0, 30))) for _ in range(300)]
    sets += [{*list(one)[1:], "new"} for one in sets[:150] if one]
    known, asked = sets[::2], sets[1::2]

    def first(one):
        shares = (len(one & other) / (len(one | other) or 1) for other in known)
        return next((number for number, share in enumerate(shares) if share >= corpus.NEAR), None)

    near = corpus.search(known)
    expected = [first(one) for one in asked]
    assert [near(one) for one in asked] == expected
    assert 20 < sum(number is not None for number in expected) < len(asked)


def test_nothing_left_to_train_on_is_an_error_after_the_files_are_written(prepared):
    with pytest.raises(ValueError, match=r"no row is left to train on; .*quarantine\.jsonl"):
        prepared(("a.jsonl", [qa("")], {}))
    assert len(records.read(paths.PREPARED / "quarantine.jsonl")) == 1


def test_what_an_earlier_run_left_is_gone(prepared):
    paths.PREPARED.mkdir(parents=True)
    (paths.PREPARED / "old.jsonl").write_text("{}")
    files = prepared(("a.jsonl", [qa("a")], {}))
    assert set(files) == {"train", "val", "test", "quarantine", "duplicates"}


def test_the_bytes_do_not_depend_on_the_order_of_hashes(prepared):
    rows = [qa(f"{LONG} {number}") for number in range(60)]
    rows += numbered(20)
    prepared(("a.jsonl", rows, {}), val=0.2, test=0.2)
    code = (
        "from stages import prepare; from refrain.config import Config, Data, Source;"
        "prepare.main(Config(seed=1, data=Data('test', '.', [Source('some/a.jsonl')], 0.2, 0.2)))"
    )

    def written(seed):
        root = str(Path(corpus.__file__).parents[1])
        subprocess.run(
            [sys.executable, "-c", code],
            check=True,
            env=os.environ | {"PYTHONHASHSEED": seed, "PYTHONPATH": root},
        )
        return {file.name: file.read_bytes() for file in [*paths.PREPARED.iterdir(), paths.DATA_REPORT]}

    first = written("1")
    assert first == written("2")
    assert b"near_leak" in first["duplicates.jsonl"]
