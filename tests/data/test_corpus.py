"""Every row in one place, and every place in the report."""

import itertools
import json
import os
import subprocess
import sys
from pathlib import Path

import prepare_stage
import pytest
from awkward_templates import GEMMA, SMOLLM3
from prepare_stage import LONG, ids, numbered, qa

from refrain.chat import records
from refrain.data import corpus
from refrain.data.parallel import mapping
from refrain.data.readers import raw_rows
from refrain.pipeline import paths


@pytest.fixture
def prepare(tmp_path, monkeypatch):
    """Run the stage in an empty folder on sources given as (name, content, settings)."""
    monkeypatch.chdir(tmp_path)
    return prepare_stage.run


def test_every_row_ends_in_exactly_one_place(prepare):
    table = 'question,answer\n"two\nlines",Yes.\nshort\n,Yes.\ntwo lines,Yes.\nheld out?,No.\n'
    lines = '{"question": "a", "answer": "b"}\nbroken\n\n["c"]\n' + json.dumps(qa("Held  OUT?", "Maybe.")) + "\n"
    array = '[{"messages": []}, {"messages": [{"role": "user", "content": "a"}]},'
    files = prepare(
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
        ("0-a.csv:6", "duplicate", "0-a.csv:2"),
        ("0-a.csv:7", "exact_leak", "4-e.jsonl:1"),
        ("1-b.jsonl:5", "exact_leak", "4-e.jsonl:1"),
        ("4-e.jsonl:2", "duplicate", "4-e.jsonl:1"),
    ]
    assert [row["reason"] for row in files["quarantine"]] == [
        *("unreadable", "empty_text", "unreadable", "not_an_object", "no_reply", "no_reply", "unreadable"),
    ]
    assert {"source": "1-b.jsonl", "line": 2}.items() <= files["quarantine"][2].items()


def test_rows_keep_the_order_of_their_files(prepare):
    files = prepare(("a.jsonl", numbered(9), {}), ("b.jsonl", [qa("z")], {}))
    assert ids(files["train"]) == [*(f"0-a.jsonl:{line}" for line in range(1, 10)), "1-b.jsonl:1"]


def test_nothing_left_to_train_on_is_an_error_after_the_files_are_written(prepare):
    with pytest.raises(ValueError, match=r"(?s)no row is left to train on: .*quarantine\.jsonl"):
        prepare(("a.jsonl", [qa("")], {}))
    assert len(records.read_rows(paths.PREPARED / "quarantine.jsonl")) == 1


def test_what_an_earlier_run_left_is_gone(prepare):
    paths.PREPARED.mkdir(parents=True)
    (paths.PREPARED / "old.jsonl").write_text("{}")
    files = prepare(("a.jsonl", [qa("a")], {}))
    assert set(files) == {"train", "val", "test", "quarantine", "duplicates"}


@pytest.mark.heavy
def test_the_bytes_do_not_depend_on_the_order_of_hashes(prepare):
    rows = [qa(f"{LONG} {number}") for number in range(60)]
    rows += numbered(20)
    prepare(("a.jsonl", rows, {}), val=0.2, test=0.2)
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); import prepare_stage;"
        "from stages import prepare; prepare.main(prepare_stage.settings(('a.jsonl', '', {}), val=0.2, test=0.2))"
    )

    def written(seed):
        root = str(Path(corpus.__file__).parents[2])
        subprocess.run(
            [sys.executable, "-c", code, f"{root}/tests/support"],
            check=True,
            env=os.environ | {"PYTHONHASHSEED": seed, "PYTHONPATH": root},
        )
        return {
            file.name: file.read_bytes() for file in [*paths.PREPARED.iterdir(), *paths.DATA_REPORT.parent.iterdir()]
        }

    first = written("1")
    assert first == written("2")
    assert first["data.md"] and first["lengths.csv"]


@pytest.mark.parametrize("name", ["a.jsonl", "a.csv", "a.json"])
def test_the_bytes_are_the_same_for_any_number_of_workers(prepare, monkeypatch, name):
    """Also where a block ends in the middle of things."""
    monkeypatch.setattr(mapping, "HEAD_START", 0)
    monkeypatch.setattr(raw_rows, "CHUNK_BYTES", 1 << 12)
    rows = [*numbered(300), *[qa(f"{LONG} {n}\r\n\u2028 é") for n in range(40)], qa("")]
    content = {
        "a.jsonl": "".join(json.dumps(row) + "\n" for row in rows).replace("?", "") + "broken\n",
        "a.json": json.dumps(rows),
        "a.csv": "question,answer\n" + "".join(f'"{row["question"]}",{row["answer"]}\n' for row in rows),
    }[name]
    written = []
    for workers in (1, 2, 3):
        prepare((name, content, {}), val=0.2, test=0.2, workers=workers, augment={"noise": 0.5})
        written.append({file: file.read_bytes() for file in [*paths.PREPARED.iterdir(), *Path("reports").iterdir()]})
    assert written[0] == written[1] == written[2]
    assert prepare_stage.report()["rows"] > 340


def test_nothing_is_left_behind_beside_the_files(prepare):
    prepare(("a.jsonl", numbered(3), {}))
    assert sorted(path.name for path in Path("data").rglob("*") if path.name.startswith(".")) == []
    with pytest.raises(ValueError, match="shape"):
        prepare(("a.jsonl", [{"x": 1}], {}))
    assert sorted(path.name for path in Path("data").rglob("*") if path.name.startswith(".")) == []


def test_ids_lines_and_offsets_lead_back_to_the_row(prepare):
    text = '\ufeff\n{"question": "é", "answer": ""}\r\nbroken\n{"question": "é", "answer": "b"}\n' * 2
    files = prepare(("a.jsonl", text, {}))
    lines = text.encode().split(b"\n")
    for row in (*files["quarantine"], *files["duplicates"]):
        assert row["id"] == f"0-a.jsonl:{row['line']}"
        assert text.encode()[row["offset"] :].startswith(lines[row["line"] - 1].removeprefix(b"\xef\xbb\xbf"))
    assert [row["line"] for row in files["quarantine"]] == [2, 3, 5, 6, 7]  # a BOM amid a file is no blank line


@pytest.mark.slow
def test_the_bytes_are_the_same_on_a_ray_cluster(prepare):
    rows = [*numbered(60), *[qa(f"{LONG} {n}") for n in range(20)], qa("")]
    written = []
    for engine in ("local", "ray"):
        prepare(("a.jsonl", rows, {}), val=0.2, test=0.2, workers=2, engine=engine, augment={"noise": 0.5})
        written.append({file: file.read_bytes() for file in [*paths.PREPARED.iterdir(), *Path("reports").iterdir()]})
    assert written[0] == written[1]


def test_a_row_that_the_template_refuses_is_quarantined_with_its_words_and_said_at_once(prepare, caplog):
    system = {"role": "system", "content": "Be kind"}
    turns = [[{"role": "user", "content": f"{nth}?"}, {"role": "assistant", "content": "a"}] for nth in range(4)]
    rows = [{"messages": [*([system] if nth < 2 else []), *turns[nth]]} for nth in range(4)]
    files = prepare(("a.jsonl", rows, {}), jinja=GEMMA.replace("{{ bos_token }}", ""))
    words = ("the chat template refuses a conversation of system, user, assistant: System role not supported; "
             "data.policies.system=remove takes system turns out")  # fmt: skip
    assert [(row["reason"], row["message"]) for row in files["quarantine"]] == [("refused", words)] * 2
    assert len(files["train"]) == 2
    assert [text for text in caplog.messages if "refuses" in text] == [
        f"0-a.jsonl:1: {words}; such rows are quarantined"
    ]


def test_a_template_that_asks_for_the_date_stops_before_a_row_is_read(prepare):
    with pytest.raises(ValueError, match=r"^the chat template asks for the date, .*template=chatml$"):
        prepare(("a.jsonl", [qa("a")], {}), jinja=SMOLLM3.replace("{{- bos_token }}", ""))
    assert not paths.PREPARED.exists()


def test_a_reply_that_is_not_learned_is_marked_in_the_file_and_no_other_turn_is(prepare):
    turns = [
        {"role": role, "content": text}
        for role, text in (("user", "Hi"), ("assistant", "No."), ("user", "No?"), ("assistant", "Yes."))
    ]
    context = [turns[0], {**turns[1], "weight": 0}, turns[2], {**turns[3], "weight": 1}]
    files = prepare(("a.jsonl", [{"messages": context}, {"messages": turns}, {"messages": context}], {}))
    marked = [turns[0], {**turns[1], "train": False}, *turns[2:]]
    assert [row["messages"] for row in files["train"]] == [marked, turns]
    assert [row["of"] for row in files["duplicates"]] == ["0-a.jsonl:1"]
    report = prepare_stage.report()
    assert report["effects"] == {"context": 2}
    assert report["lengths"]["learned"]["train"] == {"p0": 5, "p50": 5, "p90": 5, "p99": 5, "p100": 9}


def test_a_split_that_rows_name_is_kept_and_reported(prepare):
    splits = {"a": "train", "b": "validation", "c": "test", "d": "spare", "e": "train"}
    rows = [{**qa(f"{letter}?"), "split": split} for letter, split in splits.items()]
    files = prepare(("a.jsonl", rows, {}), ("b.jsonl", [qa("a?")], {"split": "test"}))
    assert prepare_stage.split_of(files) == {"train": {"e?"}, "val": {"b?"}, "test": {"c?", "a?"}}
    assert [row["reason"] for row in files["quarantine"]] == ["unknown_label"]
    layout = prepare_stage.report()["sources"]["0-a.jsonl"]["layout"]
    assert layout["splits"] == {"train": "train", "validation": "val", "test": "test"}
