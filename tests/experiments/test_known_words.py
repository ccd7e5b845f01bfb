"""A tiny base that has read another text is named before it is trained, with what fits instead."""

import presets
import pytest
from places import ROOT

from refrain.experiments import known_words, links

GERMAN = "question,answer\n" + "".join(f"Wie heißt der {n}. Bär?,Er heißt Jürgen.\n" for n in range(9))
OWN = ("data=files", "data.sources=[{path: a.csv}]")
TINY = "model.tiny.corpus=corpus.txt"


@pytest.fixture
def said(tmp_path, monkeypatch, caplog):
    """What is said of a.csv, or of the embedded data, with these overrides."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    (tmp_path / "data/raw").symlink_to(ROOT / "data/raw")
    (tmp_path / "corpus.txt").write_text("Wie heißt der Bär? Er heißt Jürgen.\n")
    (tmp_path / "folder").mkdir()

    def say(content, *overrides):
        (tmp_path / "a.csv").write_text(content)
        cfg = presets.config(*overrides)
        links.link_inputs(cfg.data, cfg.model)
        known_words.warn_of_unknown_words(cfg.data, cfg.model, cfg.method)
        return caplog.messages

    return say


def test_own_rows_on_the_default_base_are_told_what_to_take(said):
    (text,) = said(GERMAN, *OWN)
    assert "model.tiny has read data/raw/corpus.txt alone, which has none of 100 % of the words" in text
    for way_out in ("model=hub", "model=folder", "model=tiny_from_data"):
        assert f"-S {way_out}" in text


@pytest.mark.parametrize(("content", "overrides"), [
    ("", ()),
    (GERMAN, (*OWN, TINY)),
    (GERMAN, (*OWN, "model=tiny_from_data")),
    (GERMAN, (*OWN, "method=from_scratch")),
    (GERMAN, (*OWN, "model=folder", "model.folder=folder")),
    ("", OWN),
])  # fmt: skip
def test_nothing_is_said_where_the_words_are_known_or_no_tiny_base_reads_them(said, content, overrides):
    assert said(content, *overrides) == []
