"""What is shown of rows that are in no split."""

import prepare_stage
import pytest
from prepare_stage import numbered, qa

from refrain.data import rejected_rows
from refrain.pipeline import paths


@pytest.fixture
def prepare(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return prepare_stage.run


def test_the_first_rows_of_each_reason_are_kept_with_their_places(prepare):
    rows = [*numbered(2), *(qa("") for _ in range(5)), {"question": ["x"]}, *numbered(2), *numbered(2)]
    prepare(("a.jsonl", rows, {}), ("b.jsonl", [*numbered(1), qa("x`|`y", "")], {}))
    report = prepare_stage.report()
    examples = report["sources"]["0-a.jsonl"]["examples"]
    assert {reason: [row["id"] for row in found] for reason, found in examples.items()} == {
        "empty_text": ["0-a.jsonl:3", "0-a.jsonl:4", "0-a.jsonl:5"],
        "missing_field": ["0-a.jsonl:8"],
        "duplicate": ["0-a.jsonl:9", "0-a.jsonl:10", "0-a.jsonl:11"],
    }
    page = paths.DATA_SHEET.read_text()
    assert "- `0-a.jsonl:3`, empty_text: `` question of the row is empty ``\n" in page
    assert "- `1-b.jsonl:1`, duplicate: `` an earlier row asks and answers the same ``\n" in page
    assert "`0-a.jsonl:6`" not in page


def test_of_many_reasons_the_most_frequent_are_shown_and_of_few_more_rows():
    def report(**reasons):
        examples = {
            reason: [{"id": f"{reason}:{n}", "message": ""} for n in range(rows)][:3]
            for reason, rows in reasons.items()
        }
        return {"reasons": reasons, "sources": {"a": {"examples": examples}, "b": {"examples": {}}}}

    def shown(**reasons):
        return [example["id"] for example in rejected_rows.choose_examples(report(**reasons))]

    assert shown(a=2, b=9, c=1, d=5) == ["b:0", "d:0", "a:0"]
    assert shown(a=1, b=7) == ["b:0", "a:0", "b:1"]
    assert shown(a=2) == ["a:0", "a:1"] and shown() == []
    assert rejected_rows.describe_reasons({"a": 1, "b": 1200, "c": 1}) == "b 1,200, a 1, c 1"
