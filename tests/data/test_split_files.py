"""The books of a data set: whoever loses a row, or writes one too many, is found out."""

import prepare_stage
import pytest
from prepare_stage import numbered, qa

from refrain.data import corpus, split_files
from refrain.data.shapes import errors
from refrain.pipeline import paths

TABLE = 'question,answer\n"two\nlines",Yes.\nshort\n,Yes.\nB?,\nc,\n'


@pytest.fixture
def prepare(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return prepare_stage.run


def test_rows_reasons_and_effects_are_counted_by_source(prepare, caplog):
    caplog.set_level("INFO", logger="refrain")
    chat = {"messages": [{"role": role, "content": role} for role in ("user", "assistant", "user")]}
    prepare(
        ("a.csv", TABLE, {}),
        ("b.jsonl", [qa("one"), qa("One"), qa("two\r\nlines")], {}),
        ("c.jsonl", [chat, {**chat, "messages": chat["messages"][:2]}], {}),
        ("d.jsonl", "", {}),
    )
    report = prepare_stage.report()
    assert report["sources"]["0-a.csv"] == {
        **{"rows": 5, "train": 1, "val": 0, "test": 0, "duplicates": 0, "quarantined": 4, "set_aside": 0},
        **{"reasons": {"unreadable": 1, "empty_text": 3}, "effects": {}, "ignored": {}},
        "examples": report["sources"]["0-a.csv"]["examples"],
        "format": "commas between cells, double quotes around them",
        "layout": {"shape": "qa", "columns": {"question": "question", "answer": "answer"}, "splits": {}},
        "split": None,
    }
    assert report["sources"]["1-b.jsonl"]["reasons"] == {"duplicate": 2}
    assert report["sources"]["1-b.jsonl"]["effects"] == {"newlines": 1}
    assert report["sources"]["2-c.jsonl"]["set_aside"] == 1
    assert report["reasons"] == {"unreadable": 1, "empty_text": 3, "duplicate": 2, "ends_with_user": 1}
    assert (report["rows"], report["train"], report["duplicates"]) == (10, 3, 2)
    assert caplog.messages[0] == "0-a.csv: commas between cells, double quotes around them"
    assert "0-a.csv: shape qa" in caplog.messages
    assert "0-a.csv: 5 rows, 1 train, 4 quarantined" in caplog.messages
    assert "- 0-a.csv: commas between cells, double quotes around them\n" in paths.DATA_SHEET.read_text()
    assert [text for text in caplog.messages if text.startswith("3-")] == ["3-d.jsonl: 0 rows"]


def test_every_reason_has_a_meaning_and_one_place():
    kinds = [*errors.QUARANTINED, *errors.SET_ASIDE, *errors.DUPLICATES]
    assert sorted(kinds) == sorted(errors.Reason.__args__)


def test_a_row_that_is_read_and_forgotten_is_found_out(prepare, monkeypatch):
    real = corpus.RowStore.add

    def forgetful(spool, part):
        part.columns = {name: values[:-1] for name, values in part.columns.items()}
        real(spool, part)

    monkeypatch.setattr(corpus.RowStore, "add", forgetful)
    with pytest.raises(ValueError, match=r"^0-a\.jsonl: the rows do not add up: .*this is a defect of refrain"):
        prepare(("a.jsonl", numbered(3), {}))


@pytest.mark.parametrize("name", ["train", "duplicates", "quarantine"])
def test_a_line_too_many_in_a_file_is_found_out(prepare, monkeypatch, name):
    real = split_files.write_splits

    def twice(spool, placed, data):
        real(spool, placed, data)
        with (paths.PREPARED / f"{name}.jsonl").open("ab") as file:
            file.write(b"{}\n")

    monkeypatch.setattr(split_files, "write_splits", twice)
    with pytest.raises(ValueError, match=r"^data/prepared: the lines do not add up"):
        prepare(("a.jsonl", numbered(3), {}))


def test_fields_that_nothing_reads_are_counted_and_named(prepare, caplog, monkeypatch):
    caplog.set_level("INFO", logger="refrain")
    rows = [{**qa(f"{n}?"), "topic": "fog", "page": n or None, "note": " "} for n in range(3)]
    prepare(("a.jsonl", [*rows, {**qa(""), "topic": "none is learned"}], {"fields": {"group": "page"}}))
    assert prepare_stage.report()["sources"]["0-a.jsonl"]["ignored"] == {"topic": 3}
    assert "0-a.jsonl: ignored: topic (3 rows); map one with fields" in caplog.messages
    assert "- 0-a.jsonl: ignored: `topic` (3 rows); map one with fields\n" in paths.DATA_SHEET.read_text()
    monkeypatch.setattr(split_files, "MAX_NAMED_FIELDS", 2)
    prepare(("a.jsonl", [{**qa("x"), **{f"c{n}": 1 for n in range(5)}}], {}))
    assert prepare_stage.report()["sources"]["0-a.jsonl"]["ignored"] == {"c0": 1, "c1": 1, "and 3 others": 3}
