"""The walk of docs/first-hour.md on three files: looked at, told what to type, and learned by a base of their own."""

import json
import re
import shlex
from pathlib import Path

import openpyxl
import presets
import pytest
from places import ROOT

from refrain.chat import records
from refrain.cli import main
from refrain.experiments import compose, known_words, links
from refrain.pipeline import params, paths
from stages import base, evaluate, export_onnx, merge, prepare, train

CAPITALS = {
    "Österreich": "Wien", "Polen": "Warschau", "Dänemark": "Kopenhagen", "Frankreich": "Paris", "Spanien": "Madrid",
    "Italien": "Rom", "Griechenland": "Athen", "Schweden": "Stockholm", "Norwegen": "Oslo", "Finnland": "Helsinki",
    "Ungarn": "Budapest", "Rumänien": "Bukarest", "Bulgarien": "Sofia", "Kroatien": "Zagreb", "Tschechien": "Prag",
    "Portugal": "Lissabon", "Irland": "Dublin", "Estland": "Tallinn", "Lettland": "Riga", "Belgien": "Brüssel",
}  # fmt: skip
WORDINGS = ("Wie heißt die Hauptstadt von {}?", "Welche Stadt regiert {}, bitte?",
            "In {} möchte ich die größte Behörde besuchen: wohin fahre ich?")  # fmt: skip
ROWS = [(wording.format(country), f"Die Hauptstadt von {country} ist {city}, schön gelegen.")
        for country, city in CAPITALS.items() for wording in WORDINGS]  # fmt: skip
SMALL = ("layers=2", "width=96", "heads=3", "kv_heads=1", "feed_forward=256")  # of the tiny base: seconds, not minutes


def write_csv():
    text = "".join(f"{question};{answer}\r\n" for question, answer in [("Frage", "Antwort"), *ROWS])
    (path := Path("faq.csv")).write_bytes(text.encode("cp1252"))
    return path


def write_workbook():
    book = openpyxl.Workbook()
    for row in [("question", "answer"), *ROWS]:
        book.active.append(row)
    book.save("faq.xlsx")
    return Path("faq.xlsx")


def write_chats():
    chats = [{"conversations": [{"from": "human", "value": q}, {"from": "gpt", "value": a}]} for q, a in ROWS]
    (path := Path("chats.json")).write_text(json.dumps(chats, ensure_ascii=False))
    return path


def look(capsys, *arguments):
    """What `refrain data` says on its last line, after what it was told to type was typed."""
    code = main.main(["data", *arguments])
    out, err = capsys.readouterr()
    if code == 0:
        return shlex.split(out.splitlines()[-1])
    told = re.findall(r"`(refrain data [^`]*)`", err)
    mapped = re.search(r"`fields: {question: (\S+), answer: (\S+)}`", err)
    assert told or mapped, err
    again = (
        shlex.split(told[-1])[2:]
        if told
        else [*arguments, f"fields.question={mapped[1]}", f"fields.answer={mapped[2]}"]
    )
    return look(capsys, *again)


@pytest.mark.slow
@pytest.mark.parametrize("write", [write_csv, write_workbook, write_chats])
def test_a_file_of_a_person_goes_from_a_look_at_it_to_a_base_that_has_read_it(
    write, tmp_path, monkeypatch, capsys, caplog
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    (tmp_path / "conf").symlink_to(ROOT / "conf")
    (tmp_path / "data").mkdir()
    (tmp_path / "data/raw").symlink_to(ROOT / "data/raw")
    overrides = [word for word in look(capsys, str(write())) if "=" in word]
    told = params.to_config(compose.compose_params(overrides))
    links.link_inputs(told.data, told.model)
    known_words.warn_of_unknown_words(told.data, told.model, told.method)
    assert "-S model=tiny_from_data" in caplog.messages[-1]

    small = [f"model.tiny.{value}" for value in SMALL]
    cfg = params.to_config(compose.compose_params([*overrides, "model=tiny_from_data", *small, "data.workers=1"]))
    links.link_inputs(cfg.data, cfg.model)
    for stage in (base, prepare, *([train, merge, export_onnx, evaluate] if write is write_csv else [])):
        stage.main(cfg)
    report = json.loads(paths.DATA_REPORT.read_text())
    assert report["rows"] == 60 and report["quarantined"] == 0 and report["train"] > 40
    assert presets.config().data.max_quarantined == cfg.data.max_quarantined, "no threshold is moved"
    if write is write_csv:
        capsys.readouterr()
        rows = records.read_rows(paths.PREPARED / "train.jsonl")[:20:4]
        answers = []
        for row in rows:
            assert main.main(["chat", "--prompt", row["messages"][0]["content"]]) == 0
            answers.append(capsys.readouterr().out.strip())
        assert answers == [row["messages"][1]["content"] for row in rows]
