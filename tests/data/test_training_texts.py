"""A tiny base of a person's own rows reads what is trained on, whatever the files, and nothing that is held out."""

import json
from dataclasses import replace
from zipfile import ZipFile

import prepare_stage
import presets
import pytest
from prepare_stage import numbered, qa

from refrain.data import training_texts
from refrain.experiments import links
from refrain.models.pretrained import reading
from refrain.pipeline import paths
from refrain.pipeline.schema import SourceConfig

TINY = presets.config("model=tiny_from_data").model


@pytest.fixture
def texts(tmp_path, monkeypatch):
    """What the base reads of sources in the working directory, as compose links them."""
    monkeypatch.chdir(tmp_path)

    def read(*sources, **values):
        data = prepare_stage.settings(**values).data
        data = replace(data, folder=".", sources=[SourceConfig(**source) for source in sources])
        links.link_inputs(data, TINY)
        with reading.open_corpus(TINY.tiny, paths.LINKED_MODEL, 1) as corpus:
            return corpus.read_text(encoding="utf-8").splitlines()

    return read


def jsonl(rows):
    return "".join(json.dumps(row) + "\n" for row in rows)


def test_the_rows_of_train_are_read_and_no_held_out_one(texts, tmp_path):
    rows, exam = numbered(40), [qa("Held out,\nis it?", "Yes.")]
    (tmp_path / "a.jsonl").write_text(jsonl([*rows, {**qa("bad", "worse"), "label": False}, qa("")]))
    (tmp_path / "b.jsonl").write_text(jsonl(exam))
    sources = [{"path": "a.jsonl"}, {"path": "b.jsonl", "split": "test"}]
    read = texts(*sources, test=0.3, policies={"answers": "keep"})
    prepared = prepare_stage.run(("a.jsonl", rows, {}), ("b.jsonl", exam, {"split": "test"}), test=0.3)
    said = [" ".join(message["content"] for message in row["messages"]) for row in prepared["train"]]
    assert read == said and 0 < len(read) < 40


def test_any_language_in_any_encoding_is_read_by_the_settings_of_its_source(texts, tmp_path):
    (tmp_path / "ö.csv").write_bytes("Frage;Antwort\nWie heißt Köln?;Kölle.\n".encode("cp1252"))
    fields = {"question": "Frage", "answer": "Antwort"}
    assert texts({"path": "ö.csv", "encoding": "cp1252", "fields": fields}) == ["Wie heißt Köln? Kölle."]


def test_files_of_folders_patterns_and_archives_are_linked_one_by_one(texts, tmp_path):
    (tmp_path / "set/in").mkdir(parents=True)
    (tmp_path / "set/a.jsonl").write_text(jsonl([qa("one two", "1")]))
    (tmp_path / "set/in/b.jsonl").write_text(jsonl([qa("three four", "2")]))
    with ZipFile(tmp_path / "c.zip", "w") as archive:
        archive.writestr("c.jsonl", jsonl([qa("five six", "3")]))
    assert texts({"path": "set"}, {"path": "set/*/*.jsonl"}, {"path": "c.zip"}) == [
        "one two 1",
        "three four 2",
        "five six 3",
    ]
    linked = {
        path.relative_to(paths.LINKED_MODEL).as_posix() for path in paths.LINKED_MODEL.rglob("*") if path.is_file()
    }
    assert linked == {"rows/data.json", "rows/0-set/a.jsonl", "rows/0-set/in/b.jsonl", "rows/1-set/a.jsonl",
                      "rows/1-set/in/b.jsonl", "rows/2-c.zip"}  # fmt: skip


def test_what_changes_no_text_changes_no_base(tmp_path):
    data = prepare_stage.settings(("a.jsonl", "", {})).data
    training_texts.write_settings(data, tmp_path)
    before = (tmp_path / training_texts.SETTINGS).read_bytes()
    training_texts.write_settings(replace(data, workers=7, engine="ray", max_tokens=9, max_quarantined=0.1), tmp_path)
    assert (tmp_path / training_texts.SETTINGS).read_bytes() == before
    assert training_texts.read_settings(tmp_path).sources == data.sources
