"""What a person reads of the data."""

import csv
import json

import prepare_stage
import pytest
from awkward_templates import QWEN3
from prepare_stage import numbered, qa

from refrain.pipeline import paths


@pytest.fixture
def prepare(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return prepare_stage.run


def page():
    return paths.DATA_SHEET.read_text()


def test_the_page_shows_counts_reasons_effects_lengths_and_rows(prepare):
    table = "question,answer\n" + "".join(f"{row['question']},{row['answer']}\n" for row in numbered(30))
    prepare(("a.csv", table + "short\n", {}), ("b.jsonl", [qa("x\r\ny")], {}), val=0.2, test=0.2)
    report, lines = prepare_stage.report(), page().splitlines()
    assert f"| 0-a.csv | 31 | {report['sources']['0-a.csv']['train']} |" in page()
    assert sum(line.startswith("| all | 32 |") for line in lines) == 1
    assert any(line.startswith("| 0-a.csv | unreadable | 1 |") for line in lines)
    assert any(line.startswith("| 1-b.jsonl | newlines | 1 |") for line in lines)
    assert page().count("⟦") == 10
    assert "<|im_start|>assistant\n⟦" in page()


def test_the_page_counts_bad_replies_and_marks_nothing_of_them(prepare):
    rows = [
        {"prompt": "Why?", "completion": "So.", "label": True},
        {"prompt": "Why?", "completion": "No!", "label": False},
    ]
    files = prepare(("a.jsonl", rows, {}), method="kto")
    assert [(row["messages"][-1]["content"], row["label"]) for row in files["train"]] == [("So.", True), ("No!", False)]
    assert "## Rows whose reply is a bad one" in page() and "| 0-a.jsonl | train | 1 |" in page()
    assert "⟦So.<|im_end|>⟧" in page() and "\nNo!<|im_end|>\n\n\nlabel: false\n```" in page()
    assert prepare_stage.report()["lengths"]["learned"]["train"]["p100"] == len("So.") + 1
    prepare(("a.jsonl", [qa("Why?")], {}))
    assert "bad_replies" not in prepare_stage.report()["sources"]["0-a.jsonl"] and "bad one" not in page()


def test_lengths_are_those_of_a_base_that_took_the_place_of_another(prepare):
    lengths = []
    for _ in range(2):
        prepare(("a.jsonl", [qa("Why?", "So.")], {}))
        lengths.append(prepare_stage.report()["lengths"]["tokens"]["train"]["p100"])
        file = paths.BASE / "tokenizer.json"
        tokenizer = json.loads(file.read_text())
        tokenizer["model"]["vocab"]["Wh"], tokenizer["model"]["merges"] = 900, [["W", "h"]]
        file.write_text(json.dumps(tokenizer))
    assert lengths[0] == lengths[1] + 1


def test_lengths_are_those_of_the_tokenizer(prepare):
    """Of one token a byte, beside 55 of the template around a question and an answer: its markers are one each."""
    prepare(("a.jsonl", [qa("é", "ab"), qa("éé", "abcd"), qa("x" * 20, "y")], {}))
    template = len("user\n") + len("\n") + len("assistant\n") + len("\n") + 4
    lengths = prepare_stage.report()["lengths"]
    assert lengths["tokens"] == {
        "train": {f"p{p}": template + n for p, n in zip((0, 50, 90, 99, 100), (4, 8, 8, 8, 21), strict=True)}
    }
    assert lengths["learned"]["train"] == {"p0": 2, "p50": 3, "p90": 3, "p99": 3, "p100": 5}
    assert (lengths["measured"], lengths["refused"]) == (3, 0)


def test_the_plot_counts_every_row_once(prepare):
    prepare(("a.jsonl", [qa("x" * n, "y") for n in range(1, 60)], {}), val=0.3, test=0.3)
    rows = list(csv.DictReader(paths.LENGTHS.open()))
    report = prepare_stage.report()
    for split in ("train", "val", "test"):
        assert sum(int(row[split]) for row in rows) == report[split]
    edges = [int(row["tokens"]) for row in rows]
    assert edges == sorted(set(edges)) and edges[-1] == max(
        each["p100"] for each in report["lengths"]["tokens"].values()
    )


def test_of_many_rows_some_are_measured_the_same_ones_each_time(prepare, monkeypatch):
    monkeypatch.setattr("refrain.data.datasheet.MAX_MEASURED_ROWS", 20)
    seen = [prepare(("a.jsonl", numbered(60), {})) and (page(), paths.LENGTHS.read_bytes()) for _ in range(2)]
    assert seen[0] == seen[1]
    assert prepare_stage.report()["lengths"]["measured"] == 20
    monkeypatch.setattr("refrain.data.datasheet.MAX_MEASURED_BYTES", 1)
    prepare(("a.jsonl", numbered(60), {}))
    assert prepare_stage.report()["lengths"]["measured"] == 1


def test_a_row_that_would_break_the_page_does_not(prepare):
    prepare(("a|b.jsonl", [qa("```\n# not a heading", "a | b \x1b[31m")], {}))
    assert "\x1b" not in page() and "a\\|b" in page()
    assert page().count("```\n") == 2


def test_a_long_row_is_shown_in_part(prepare):
    prepare(("a.jsonl", [qa("x" * 50_000)], {}))
    assert len(page()) < 10_000


def test_the_page_shows_no_thought_of_the_template_as_learned(prepare):
    prepare(("a.jsonl", [qa("why?", "amber")], {}), jinja=QWEN3)
    assert "assistant\n<think>\n\n</think>\n\n⟦amber<|im_end|>⟧" in page()
