"""The files of the sources, and the splits that their names declare."""

import json
import logging
from dataclasses import replace

import prepare_stage
import pytest

from refrain.data import sources
from refrain.pipeline.schema import SourceConfig


@pytest.fixture
def splits(tmp_path):
    """Make files below a folder of links, and say which split each file of the sources has."""

    def splits(names, *given):
        for name in names:
            (tmp_path / name).parent.mkdir(exist_ok=True, parents=True)
            (tmp_path / name).write_text("x")
        data = replace(prepare_stage.defaults().data, folder="some", sources=[SourceConfig(**each) for each in given])
        return {file.name: file.config.split for file in sources.list_files(data, tmp_path)}

    return splits


FOLDER = ["0-set/train.jsonl", "0-set/in/dev.csv", "0-set/test-00000-of-00001.parquet", "0-set/more.jsonl"]


def test_the_files_of_a_folder_have_the_splits_that_their_names_say_and_it_is_said(splits, caplog):
    caplog.set_level(logging.INFO)
    assert splits(FOLDER, {"path": "set"}) == {
        "0-set/in/dev.csv": "val",
        "0-set/more.jsonl": None,
        "0-set/test-00000-of-00001.parquet": "test",
        "0-set/train.jsonl": "train",
    }
    assert "0-set/more.jsonl to any split, by the fractions" in caplog.text and "`split: random`" in caplog.text


@pytest.mark.parametrize("split", ["val", "random"])
def test_a_split_beside_the_path_wins(splits, split):
    assert set(splits(FOLDER, {"path": "set", "split": split}).values()) == {split}


def test_a_column_that_a_person_names_wins(splits):
    assert set(splits(FOLDER, {"path": "set", "fields": {"split": "part"}}).values()) == {None}


def test_files_of_a_folder_are_chosen_by_a_pattern_or_a_split(splits):
    assert splits(FOLDER, {"path": "set", "files": "*.csv"}) == {"0-set/in/dev.csv": "val"}
    assert splits(FOLDER, {"path": "set", "files": "validation"}) == {"0-set/in/dev.csv": "val"}
    assert splits(FOLDER, {"path": "set", "files": "train"}) == {"0-set/train.jsonl": None}  # else nothing is held out
    assert splits(FOLDER, {"path": "a/set/*.jsonl"}).keys() == {"0-set/train.jsonl", "0-set/more.jsonl"}
    with pytest.raises(
        ValueError, match=r"sources\[0\]: there is no file that files=\*.xml names in set; there is in/dev"
    ):
        splits(FOLDER, {"path": "set", "files": "*.xml"})


def test_single_files_have_the_splits_that_all_their_names_say(splits):
    given = [{"path": "a/train.jsonl"}, {"path": "a/test.jsonl"}]
    links = ["0-train.jsonl", "1-test.jsonl", "2-more.jsonl"]
    assert list(splits(links, *given).values()) == ["train", "test"]
    assert set(splits(links, *given, {"path": "a/more.jsonl"}).values()) == {None}
    assert list(splits(links, given[0], {**given[1], "split": "test"}).values()) == [None, "test"]
    assert list(splits(links, given[0]).values()) == [None]


def test_a_folder_whose_own_name_says_a_split_declares_nothing(splits):
    assert set(splits(["0-test/a.csv", "0-test/b.csv"], {"path": "some/test"}).values()) == {None}


def test_a_file_may_be_called_like_a_pattern(splits):
    assert splits(["0-a[1].csv"], {"path": "a[1].csv"}) == {"0-a[1].csv": None}


def test_files_that_are_passed_over_are_said(splits, caplog):
    caplog.set_level(logging.INFO)
    splits(
        ["0-set/a.csv", *(f"0-set/{name}" for name in ("README.md", "dataset_infos.json", "b.txt"))], {"path": "set"}
    )
    assert "0-set: not read, for they have no known format: README.md, b.txt" in caplog.text
    caplog.clear()
    splits([], {"path": "set/[ab].*"})
    assert "no known format: b.txt" in caplog.text


def test_a_sheet_is_of_a_workbook(splits):
    with pytest.raises(ValueError, match=r"sheet=A, but a.csv is no .xlsx; take"):
        splits(["0-a.csv"], {"path": "a.csv", "sheet": "A"})


def test_files_of_the_hub_are_like_those_of_a_folder_and_their_commit_is_recorded(splits, tmp_path):
    given = {"hub": "owner/birds", "revision": "main"}
    names = ["0-birds/data/test-00000-of-00001.parquet", "0-birds/data/train-00000-of-00001.parquet"]
    (tmp_path / "prepared").mkdir()
    assert sources.record_commits(tmp_path, tmp_path / "prepared") == {}
    assert splits(names, given) == dict(zip(names, ["test", "train"], strict=True))
    sources.write_record(tmp_path / "0-birds", {**given, "commit": "abc"})
    assert splits([], given).keys() == set(names)
    report = sources.record_commits(tmp_path, tmp_path / "prepared")
    assert report == {"commits": {"0-birds": {**given, "commit": "abc"}}}
    assert json.loads((tmp_path / "prepared/commits.json").read_text()) == report["commits"]
