"""Every file that a source names is linked where DVC sees its content, or refused at once."""

from dataclasses import replace

import prepare_stage
import pytest
import yaml
from places import ROOT

from refrain.data import data_cards
from refrain.data.readers import files
from refrain.experiments import links
from refrain.pipeline import paths
from refrain.pipeline.schema import SourceConfig

MIT = {"license": ["mit"]}


@pytest.fixture
def link(tmp_path, monkeypatch):
    """Link sources in a working directory with the folder `set`, and list the links."""
    (tmp_path / "set/in").mkdir(parents=True)
    for name in ("set/a.csv", "set/in/b.jsonl", "set/c[1].csv", "set/note.txt", "bad.zip", "bad.jsonl"):
        (tmp_path / name).write_text("q\n")
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")

    def link(*given):
        data = replace(prepare_stage.defaults().data, folder="..", sources=[SourceConfig(**each) for each in given])
        links.link_data(data)
        places = [path for path in paths.LINKED_DATA.rglob("*") if path.is_symlink()]
        return {path.relative_to(paths.LINKED_DATA).as_posix(): path.resolve().name for path in places}

    return link


def test_a_folder_and_the_folder_of_a_pattern_are_linked_once_more_for_dvc(link):
    assert link({"path": "set"}, {"path": "set/a.csv"}, {"path": "set/**/*.jsonl"}, {"path": "set/c[1].csv"}) == {
        "0-set": "set",
        "1-a.csv": "a.csv",
        "2-set": "set",
        "3-c[1].csv": "c[1].csv",
        "folders/0": "set",
        "folders/1": "set",
    }


def test_the_cards_beside_the_rows_and_beside_the_corpus_of_a_base_are_linked_and_read(link, tmp_path):
    (tmp_path / "set/README.md").write_text("---\nlicense: mit\n---\n")
    (tmp_path / "set/in/README.md").write_text("no front matter\n")
    linked = link({"path": "set"}, {"path": "set/a.csv"}, {"path": "set/in/b.jsonl"}, {"path": "bad.jsonl"})
    cards = {name for name in linked if name.startswith("cards")}
    assert cards == {f"cards/{name}/README.md" for name in ("0-set", "1-a.csv", "2-b.jsonl")}
    corpus = replace(prepare_stage.defaults().model.tiny, corpus="../set/note.txt")
    data = replace(prepare_stage.defaults().data, folder="..", sources=[SourceConfig(path="set/a.csv")])
    links.link_inputs(data, replace(prepare_stage.defaults().model, tiny=corpus))
    assert data_cards.read_cards(paths.LINKED_DATA) == {"0-a.csv": MIT, "corpus": MIT}


def test_dvc_watches_every_folder_and_no_file_that_is_read_is_hidden_from_it(link):
    deps = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]["prepare"]["deps"]
    watched = [str(paths.watched_folder(number)) for number in range(paths.WATCHED_FOLDERS)]
    assert [dep for dep in deps if "folders" in dep] == watched
    link({"path": "set"})
    assert [place for place in watched if not any(ROOT.__class__(place).iterdir())] == []  # DVC sees no empty folder
    ignored = [line.rpartition(".")[2] for line in (ROOT / ".dvcignore").read_text().splitlines() if "/*." in line]
    assert ignored and not any(files.can_read(f"x.{ending}") for ending in ignored)
    with pytest.raises(ValueError, match="9 folders and patterns, of which DVC can watch 8"):
        link(*[{"path": "set"}] * 9)


@pytest.mark.parametrize("path, words", [
    ("none.csv", r"sources\[0\]\.path: there is no file \.\./none\.csv; correct the path"),
    ("set/note.txt", r"^set/note\.txt: it holds plain text, in which nothing tells questions from replies; "),
    ("bad.zip", r"^bad\.zip: not a ZIP"),
    ("none/*.csv", r"sources\[0\]\.path: there is no folder \.\./none; correct the path"),
    ("set/*.txt", r"sources\[0\]: there is no file in set/\*\.txt; there is a\.csv"),
    ("work", "holds what this pipeline writes; move the files"),
    ("*.csv", "holds what this pipeline writes; move the files"),
])  # fmt: skip
def test_what_names_no_file_or_cannot_be_watched_is_refused(link, path, words):
    with pytest.raises(ValueError, match=words):
        link({"path": path})


@pytest.mark.parametrize("name", [".dvcignore", "in/.dvc/config"])
def test_a_folder_of_another_repository_of_dvc_is_refused(link, tmp_path, name):
    (tmp_path / "set" / name).parent.mkdir(exist_ok=True)
    (tmp_path / "set" / name).write_text("")
    with pytest.raises(ValueError, match=r"belongs to another repository of DVC, .*; copy the files"):
        link({"path": "set"})
