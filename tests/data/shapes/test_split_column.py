"""A published split is kept; what names no split is no split."""

import pytest
from single_rows import parsed, said, talk

from refrain.data.readers.raw_rows import RawRow
from refrain.data.shapes import recognition
from refrain.data.shapes.errors import RowError
from refrain.pipeline.schema import SourceConfig

QA = {"question": "Hi", "answer": "Hello"}


@pytest.mark.parametrize("value, split", [
    ("train", "train"), ("Training", "train"), ("val", "val"), ("validation", "val"), ("dev", "val"),
    (" TEST ", "test"), ("eval", "val"), ("holdout", "test"),
])  # fmt: skip
def test_the_split_of_a_row_is_read(value, split):
    assert said({**QA, "split": value})["split"] == split
    assert said({**QA, "part": value}, split="part")["split"] == split


@pytest.mark.parametrize("value", ["hard", "split", "train_sft", 0, 1.5, ["train"], True])
def test_what_names_no_split_is_a_column_like_any_other(value):
    assert said({**QA, "split": value}) == {"messages": talk("Hi", "Hello")}
    (error,) = parsed({**QA, "part": value}, split="part")
    assert error.reason == "unknown_label"
    assert str(error).startswith(f"part of the row is {value!r}, which is no split")


@pytest.mark.parametrize("name", ["Split", "data_split", "partition"])
def test_the_column_of_a_split_has_several_names(name):
    assert said({**QA, name: "test"})["split"] == "test"
    assert said({**QA, "split": "hard", "data_split": "test"})["split"] == "test"
    assert said({**QA, name: "Norway"}) == {"messages": talk("Hi", "Hello")}


def test_a_row_without_a_split_has_none():
    assert "split" not in said({**QA, "split": ""})
    assert "split" not in said({**QA, "part": None}, split="part")


def test_one_odd_value_costs_its_row_alone():
    raws = [RawRow(1, {**QA, "Split": value}) for value in ("train", "dev", "unlabeled")]
    layout = recognition.recognise_layout(SourceConfig("file"), raws)
    assert layout.splits == {"train": "train", "dev": "val"}
    assert layout.columns["split"] == "Split"


def test_a_column_of_which_most_values_name_no_split_is_none():
    raws = [RawRow(1, {**QA, "split": value}) for value in ("hard", "test", "easy")]
    assert recognition.recognise_layout(SourceConfig("file"), raws).ignored == ("split",)


def test_a_file_whose_split_is_declared_has_no_other():
    raws = [RawRow(1, {**QA, "split": "test"})]
    assert "split" not in recognition.recognise_layout(SourceConfig("file", split="train"), raws).columns
    with pytest.raises(ValueError, match="split and fields: split both say"):
        recognition.recognise_layout(SourceConfig("file", split="train", fields={"split": "split"}), raws)


def test_a_tag_beside_instances_reaches_each():
    row = {"instruction": "Do", "instances": [{"output": "a"}, {"output": ""}, {"output": "c"}], "split": "test"}
    assert [one.get("split") for one in parsed(row) if not isinstance(one, RowError)] == ["test", "test"]
