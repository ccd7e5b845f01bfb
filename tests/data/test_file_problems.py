# ruff: noqa: RUF001 (letters of many languages)
"""What is the matter with a file as a whole: its encoding, its format, what a person says of it; and what to write."""

import gzip
import json
import shlex
from pathlib import Path

import prepare_stage
import pytest

from refrain.data import file_problems, sources
from refrain.data.readers import encoding_guess
from refrain.pipeline.schema import SourceConfig

TEXTS = {
    "cp1252": ["Wie groß ist der Bär? Er heißt „Jürgen“.",
               "Où est l’été ? À côté du théâtre, garçon.", "¿Qué es? Mañana, señor.",
               "O que é a maré? Não há dúvida.", "Åse spör på æblegrød."],
    "cp1250": ["Jak duży jest niedźwiedź? Źródło, śnieg, łąka.", "Příliš žluťoučký kůň úpěl ďábelské ódy."],
    "cp1251": ["Где живёт медведь? В лесу.", "Що таке туман? Це низька хмара, їжак."],
    "koi8_r": ["Где живёт медведь? В лесу."],
    "cp1253": ["Τι είναι η ομίχλη; Ένα χαμηλό σύννεφο."],
    "cp1254": ["Sis nedir? Alçak bir buluttur. Şehir büyük değil, ığdır."],
    "cp932": ["霧とは何ですか。低い雲です。クマはどこに住んでいますか。"],
    "gb18030": ["什么是雾？雾是低云。熊住在哪里？"],
    "big5": ["什麼是霧？霧是低雲。熊住在哪裡？"],
    "cp949": ["안개란 무엇입니까? 낮은 구름입니다."],
}  # fmt: skip
TABLE = "question;answer\nWhat?;That.\nWho?;She.\n"
ROWS = [{"question": "What?", "answer": "That."}] * 2


def problem(name, content, **settings):
    Path(name).write_bytes(content if isinstance(content, bytes) else content.encode())
    file = sources.SourceFile(f"0-{name}", Path(name).absolute(), SourceConfig(name, **settings))
    return file_problems.find_problem(file, prepare_stage.settings((name, "", {}), folder=".").data)


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(("encoding", "text"), [(name, text) for name, texts in TEXTS.items() for text in texts])
def test_the_encoding_of_a_text_is_found_by_its_letters(encoding, text):
    table = f"question;answer\r\n{text};x\r\n".encode(encoding)
    assert encoding_guess.guess_encoding(table) == encoding
    assert encoding_guess.guess_encoding(table.decode(encoding).encode()) is None
    said = problem("a.csv", table)
    assert f"`encoding: {encoding}`" in said and f"`refrain data a.csv encoding={encoding}`" in said
    assert problem("a.csv", table, encoding=encoding) is None


@pytest.mark.parametrize("sample", [b"", b"\xff\xfe\x81 abc", bytes(range(128, 256)), "é 🙂".encode()])
def test_no_encoding_is_guessed_where_none_makes_words(sample):
    assert encoding_guess.guess_encoding(sample) is None


def test_the_command_that_looks_again_keeps_what_was_said_and_can_be_pasted():
    table = "Frage;Antwort\nWas heißt „ja“?;Ja.\n".encode("cp1252")
    said = problem("a b.csv", table, fields={"question": "Frage", "answer": "Antwort"}, header=True)
    command = said.split("`")[-2]
    assert shlex.split(command) == ["refrain", "data", "a b.csv", "fields.question=Frage", "fields.answer=Antwort",
                                    "encoding=cp1252", "header=true"]  # fmt: skip
    assert "'Was heißt „ja“?;Ja.'" in said


@pytest.mark.parametrize(("name", "content", "words", "new"), [
    ("a.csv", json.dumps(ROWS), "it holds JSON, and no .csv", "a.json"),
    ("a.csv", "".join(json.dumps(row) + "\n" for row in ROWS), "it holds JSON Lines, and no .csv", "a.jsonl"),
    ("a.json", TABLE, "it holds a table with semicolons between cells, and no .json", "a.csv"),
    ("a.jsonl", TABLE.replace(";", "\t").encode("utf-16"), "with tabs between cells in UTF-16-LE, and no", "a.tsv"),
    ("a.xlsx", TABLE, "it holds a table with semicolons between cells, and no .xlsx", "a.csv"),
    ("a.csv", b"PK\x03\x04 [Content_Types].xml xl/workbook.xml", "it holds a workbook, and no .csv", "a.xlsx"),
    ("a.csv", b"PAR1", "it holds Parquet, and no .csv", "a.parquet"),
    ("a.json", "<!DOCTYPE html>", "it holds a web page or XML, and no .json; fetch or export it anew", None),
    ("a.json.gz", gzip.compress(TABLE.encode(), mtime=0), "it holds a table with semicolons", "a.json.csv"),
])  # fmt: skip
def test_a_file_of_another_format_than_its_name_says_is_told(name, content, words, new):
    said = problem(name, content)
    assert words in said and (new is None or f"`cp {name} {new}`" in said)


@pytest.mark.parametrize(("name", "content"), [
    ("a.csv", TABLE), ("a.tsv", TABLE), ("a.json", "\n".join(map(json.dumps, ROWS))),
    ("a.csv", "text"), ("a.csv", ""),
])  # fmt: skip
def test_a_file_that_is_what_its_name_says_has_no_problem(name, content):
    assert problem(name, content) is None


def test_a_dialect_that_is_not_what_the_rows_show_is_told():
    said = problem("a.csv", TABLE, delimiter="|")
    assert "semicolons between cells" in said and "`delimiter` beside its path says" in said
    assert "`refrain data a.csv` shows" in said
    assert problem("a.csv", TABLE, delimiter=";") is None
