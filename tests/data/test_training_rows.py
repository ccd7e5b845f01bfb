"""Where no row is left to train on: why, and where that can be read when the copy that it ran in is gone."""

import json
import re

import prepare_stage
import pytest
from prepare_stage import numbered, qa

from refrain.data import training_rows
from refrain.pipeline import paths


@pytest.fixture
def prepare(tmp_path, monkeypatch):
    (tmp_path / "copy").mkdir()
    monkeypatch.chdir(tmp_path / "copy")
    return prepare_stage.run


def nothing_left(*sources, **values):
    with pytest.raises(ValueError, match=r"^no row is left to train on: ") as caught:
        prepare_stage.run(*sources, **values)
    return str(caught.value)


def test_rows_that_are_all_drawn_for_val_and_test_are_said_with_the_way_out(prepare):
    text = nothing_left(("a.jsonl", numbered(2), {}), test=1.0)
    assert "of 2 rows in some/a.jsonl 2 went to test; " in text
    assert "of 1 row in some/a.jsonl 1 went to val; " in nothing_left(("a.jsonl", numbered(1), {}), val=1.0)
    assert "data.test_fraction=0" in text and "split: train" in text and "quarantine" not in text
    assert len(prepare(("a.jsonl", numbered(2), {}), test=0.0)["train"]) == 2
    assert len(prepare(("a.jsonl", numbered(2), {"split": "train"}), test=1.0)["train"]) == 2


def test_sources_that_are_all_declared_for_test_are_said(prepare):
    text = nothing_left(("a.jsonl", numbered(2), {"split": "test"}), ("b.jsonl", numbered(3)[2:], {"split": "val"}))
    assert "of 3 rows in some/a.jsonl, some/b.jsonl 1 went to val, 2 went to test; every source is declared" in text


def test_every_reason_is_counted_and_three_rows_are_shown(prepare):
    wrong, chat = {"question": {"text": "x"}, "answer": "y"}, [{"role": "user", "content": "x"}]
    text = nothing_left(("a.jsonl", [qa(""), wrong, wrong], {}), ("b.jsonl", [{"messages": chat}], {}))
    assert (
        "of 4 rows in some/a.jsonl, some/b.jsonl 4 are broken (not_text 2, empty_text 1, no_reply 1); mend the rows"
        in text
    )
    assert re.findall(r"^  (\S+): (.*)", text, re.MULTILINE) == [
        ("0-a.jsonl:2", "question of the row is an object, not text"),
        ("0-a.jsonl:1", "question of the row is empty"),
        ("1-b.jsonl:1", "there is no assistant turn"),
    ]
    assert text.endswith("data/prepared/quarantine.jsonl and duplicates.jsonl have all of them")


def test_rows_that_all_leak_are_said(prepare):
    text = nothing_left(("a.jsonl", numbered(1), {}), ("b.jsonl", numbered(1), {"split": "test"}))
    assert "1 went to test, 1 repeat or leak others (exact_leak 1); the other sources ask what is held out: " in text


def test_no_row_at_all_is_said(prepare):
    empty, other = ("a.jsonl", "", {}), ("b.csv", "question,answer\n", {})
    text = nothing_left(empty, other)
    assert "some/a.jsonl is empty (0 bytes); " in text and "some/b.csv has no row below its header; " in text


def test_a_file_without_rows_beside_others_is_named(prepare, caplog):
    prepare(("a.jsonl", numbered(3), {}), ("b.jsonl", "\n", {}))
    assert "some/b.jsonl holds no row; write rows into it, or name another file" in caplog.messages


@pytest.mark.parametrize("limit", [0.2, 0.5])
def test_too_many_broken_rows_stop_the_stage_after_all_were_counted(prepare, limit):
    source = ("a.jsonl", [*numbered(3), *[qa("")] * 2], {})
    if limit == 0.5:
        assert len(prepare(source, max_quarantined=limit)["train"]) == 3
        return
    with pytest.raises(ValueError, match=r"^some/a\.jsonl: 2 of 5 rows are broken \(empty_text 2\), ") as caught:
        prepare(source, max_quarantined=limit)
    assert "data.max_quarantined=0.2; mend the rows" in str(caught.value) and "0-a.jsonl:4: " in str(caught.value)
    assert prepare_stage.report()["quarantined"] == 2
    assert len((paths.PREPARED / "train.jsonl").read_text().splitlines()) == 3


def test_in_a_copy_of_an_experiment_the_reasons_outlive_it(prepare, tmp_path, monkeypatch):
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    monkeypatch.setenv("DVC_EXP_NAME", "shy-ibex")
    text = nothing_left(("a.jsonl", [qa("")] * 2, {}))
    assert text.endswith("reports/failed/shy-ibex/data.md keeps what was counted")
    kept = tmp_path / "reports/failed/shy-ibex"
    assert json.loads((kept / "data.json").read_text())["reasons"] == {"empty_text": 2}
    assert "| 0-a.jsonl | empty_text | 2 |" in (kept / "data.md").read_text()
    assert not (tmp_path / paths.DATA_SHEET).exists()


@pytest.mark.parametrize(("values", "sentence"), [
    ({"val": 0.5}, "test is empty: evaluate measures on val"),
    ({"test": 0.5}, "val is empty: no validation loss"),
    ({}, "val and test are empty: evaluate measures on rows of train"),
    ({"val": 0.3, "test": 0.3}, ""),
])  # fmt: skip
def test_a_split_without_rows_is_said(prepare, caplog, values, sentence):
    prepare(("a.jsonl", numbered(30), {}), **values)
    said = training_rows.describe_empty_splits(prepare_stage.report())
    assert said.startswith(sentence) and bool(said) == bool(sentence)
    assert [text for text in caplog.messages if "empty: " in text] == [said] * bool(said)
    assert paths.DATA_SHEET.read_text().count("empty: ") == bool(said)
