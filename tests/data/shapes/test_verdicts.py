"""What a label says of two replies is told by a person, and never guessed."""

import re

import pytest
import yaml
from single_rows import DEFAULT

from refrain.data.readers.raw_rows import RawRow
from refrain.data.shapes import parsing, recognition
from refrain.pipeline.schema import SourceConfig

ROWS = [{"instruction": "Say hi", "input": "", "response1": "Hello you", "response2": "Go away", "annotator1": label}
        for label in (1, 1, 2, 0)]  # fmt: skip


def recognise(rows=ROWS, **source):
    return recognition.recognise_layout(SourceConfig("some/file.json", **source), [RawRow(1, row) for row in rows])


def error_of(**source):
    with pytest.raises(ValueError, match="has to be told") as caught:
        recognise(**source)
    return str(caught.value)


def test_labels_are_shown_with_their_counts_and_a_mapping_is_asked_for():
    message = error_of()
    assert "two replies, response1 and response2" in message
    assert "annotator1 says 1 (2 rows), 2 (1 row), 0 (1 row)" in message
    fields = yaml.safe_load(re.search(r"`fields: (\{.*?\})`", message)[1])
    assert fields == {"prompt": "instruction", "first": "response1", "second": "response2", "verdict": "annotator1",
                      "input": "input"}  # fmt: skip
    assert "verdicts are 1 (2 rows), 2 (1 row), 0 (1 row)" in error_of(fields=fields)
    layout = recognise(fields=fields, verdicts={"first": "1", "second": "2, 3", "tie": "0"})
    results = [parsing.parse_row(RawRow(1, row), layout, DEFAULT)[0] for row in ROWS]
    assert [result["rejected"] for result in results[:3]] == ["Go away", "Go away", "Hello you"]
    assert results[3].reason == "tie"


def test_a_label_that_nobody_has_explained_costs_its_row():
    fields = {"prompt": "instruction", "first": "response1", "second": "response2", "verdict": "annotator1"}
    layout = recognise(fields=fields, verdicts={"first": "1"})
    (error,) = parsing.parse_row(RawRow(1, ROWS[2]), layout, DEFAULT)
    assert (error.reason, str(error)) == ("unknown_label", "verdict of the row is 2, not one of 1")


@pytest.mark.parametrize("verdicts, words", [
    ({"better": "1"}, "better is none of first, second, tie"), ({"first": "1", "second": "2, 1"}, "1 stands twice"),
])  # fmt: skip
def test_a_mapping_that_makes_no_sense_is_refused(verdicts, words):
    fields = {"prompt": "instruction", "first": "response1", "second": "response2", "verdict": "annotator1"}
    with pytest.raises(ValueError, match=words):
        recognise(fields=fields, verdicts=verdicts)
