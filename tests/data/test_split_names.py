"""Names that say a split, and names that do not."""

import pytest

from refrain.data import split_names

NAMES = {
    "train.jsonl": "train",
    "train-00000-of-00002.parquet": "train",
    "validation.csv.gz": "val",
    "Dev.tsv": "val",
    "my_valid.json": "val",
    "test_sft-00000-of-00001.parquet": "test",
    "test/data-00000-of-00001.arrow": "test",
    "train/test.jsonl": "test",
    "main/train/0000.parquet": "train",
    "eval.jsonl": "val",
    "data.jsonl": None,
    "crash-test-data.jsonl": None,
    "latest.csv": None,
    "contest.csv": None,
    "train-test.csv": None,
}


@pytest.mark.parametrize("name", NAMES)
def test_the_split_of_a_name(name):
    assert split_names.split_of(name) == NAMES[name]


def test_only_a_split_is_called_by_a_split_alone():
    assert split_names.is_split("test-00000-of-00001.parquet") and not split_names.is_split("test_birds.csv")
