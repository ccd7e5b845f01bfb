"""Every row in one place, and every place in the report."""

import itertools
import json
import logging
import os
import subprocess
import sys
from pathlib import Path

import prepare_bench
import pytest
from prepare_bench import LONG, ids, numbered, qa

from refrain import corpus, paths, records


@pytest.fixture
def prepared(tmp_path, monkeypatch):
    """Run the stage in an empty folder on sources given as (name, content, settings)."""
    monkeypatch.chdir(tmp_path)
    return prepare_bench.run


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
