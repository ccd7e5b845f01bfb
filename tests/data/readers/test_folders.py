"""Of a folder the files with rows are read, in one order, and no other."""

import datasets
import pytest

from refrain.data.readers import folders

PATTERNS = [
    ("a.jsonl", "*.jsonl", True),
    ("in/a.jsonl", "*.jsonl", False),
    ("in/a.jsonl", "*/a.*", True),
    ("in/deep/a.jsonl", "**/*.jsonl", True),
    ("a.jsonl", "**/*.jsonl", True),
    ("in/deep/a.jsonl", "in", True),
    ("in/deep/a.jsonl", "in/*", True),
    ("in/a.jsonl", "i", False),
    ("b.csv", "[ab].csv", True),
    ("c.csv", "[!ab].csv", True),
]


@pytest.mark.parametrize("name, pattern, expected", PATTERNS)
def test_a_pattern_names_files_and_folders(name, pattern, expected):
    assert folders.matches(name, pattern) is expected


def test_the_files_with_rows_are_listed_in_one_order(tmp_path):
    shown = ["B.csv", "a.jsonl.gz", "in/c.parquet", "in/d.jsonl"]
    for name in [*reversed(shown), ".git/e.json", "._a.jsonl", "__pycache__/f.json", "README.md", "state.json"]:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("x")
    (tmp_path / "loop").symlink_to(tmp_path)
    assert [path.relative_to(tmp_path).as_posix() for path in folders.list_paths(tmp_path)] == shown


def test_of_a_saved_data_set_the_caches_are_not_read_and_none_of_its_files_may_be_missing(tmp_path):
    parts = {name: datasets.Dataset.from_list([{"a": "1"}]) for name in ("train", "test")}
    datasets.DatasetDict(parts).save_to_disk(str(tmp_path))
    (tmp_path / "train/cache-1.arrow").write_bytes(b"x")
    names = [f"{name}/data-00000-of-00001.arrow" for name in ("test", "train")]
    assert [path.relative_to(tmp_path).as_posix() for path in folders.list_paths(tmp_path)] == names
    (tmp_path / names[0]).unlink()
    with pytest.raises(ValueError, match=r"state\.json: it lists data-00000-of-00001\.arrow, which is not beside it"):
        folders.list_paths(tmp_path)
    (tmp_path / "test/state.json").write_text("{}")
    with pytest.raises(ValueError, match="save it again"):
        folders.list_paths(tmp_path)
