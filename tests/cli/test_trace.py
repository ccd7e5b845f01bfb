"""`refrain trace` in a folder with all that a training leaves, and where some of it is missing."""

import importlib.util
import json
import shutil

import pytest
import traced_repository

from refrain.cli import main
from refrain.pipeline import paths


@pytest.fixture(scope="module")
def trained(base, adapter, onnx, rows, tmp_path_factory):
    return traced_repository.build(tmp_path_factory.mktemp("trained"), base, adapter, onnx, rows)


@pytest.fixture(autouse=True)
def here(trained, tmp_path, monkeypatch):
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))  # gradients are kept elsewhere
    monkeypatch.chdir(trained)


def trace(capsys, *arguments):
    code = main.main(["trace", "--max-new-tokens", "12", *arguments])
    printed = capsys.readouterr()
    return code, printed.out, printed.err


def test_everything_is_told_of_an_answer_as_json(rows, capsys):
    question = rows[3]["messages"][0]["content"]
    code, out, _ = trace(capsys, question, "--json", "--influence", "2", "--rows", "3")
    told = json.loads(out)
    assert (code, told["question"]) == (0, question) and told["answer"]
    made_by = told["artifact"]
    assert (made_by["variant"], made_by["method"], made_by["seed_of_training"]) == ("fp32", "lora", 7)
    assert len(made_by["seal"]) == 64 and made_by["data_sha256"].keys() == {"train.jsonl", "val.jsonl", "test.jsonl"}
    asked = told["words"]["asked_in"]
    assert (asked["split"], asked["match"], asked["source"], asked["line"]) == (
        "train",
        "same",
        "data/raw/said.jsonl",
        3,
    )
    assert len(told["words"]["nearest"]) == 3 and told["words"]["is_data_of_model"] is True
    first, second = told["influence"]["rows"]
    assert first["cosine"] >= second["cosine"] and first["source"] == "data/raw/said.jsonl" and first["dot"]
    assert told["influence"]["compared"] == 14


def test_a_person_reads_the_same(rows, capsys):
    code, out, _ = trace(capsys, rows[15]["messages"][0]["content"], "--influence", "1")
    assert code == 0
    assert "asked before: in test, the same question, data/raw/said.jsonl:15" in out
    assert "nearest in words, of 16 prepared rows" in out
    assert "nearest by influence, of 14 training rows (cosine of gradients by 9,728 weights of the adapter)" in out
    assert "\x1b" not in trace(capsys, "\x1b[2J", "--no-influence")[1], "a text is no command to the terminal"
    assert out.index("answer") < out.index("seal") < out.index("asked before") < out.index("nearest by influence")


@pytest.mark.parametrize(
    ("missing", "sentence"),
    [
        (paths.PREPARED, "data/prepared: no prepared rows are here; in the repository `dvc pull data/prepared`"),
        (
            paths.ADAPTER,
            "influence: models/adapter: it is not here; `dvc pull models/base models/adapter data/prepared`",
        ),
        (paths.ONNX / "manifest.json", "influence: no manifest beside the model says what it was trained from"),
    ],
)
def test_what_is_missing_is_named_and_the_rest_is_shown(trained, capsys, tmp_path, missing, sentence):
    shutil.move(trained / missing, tmp_path / "aside")
    try:
        code, out, _ = trace(capsys, "hello", "--json")
        told = json.loads(out)
    finally:
        shutil.move(tmp_path / "aside", trained / missing)
    assert code == 0 and told["answer"] and told["artifact"]["seal"]
    assert any(told[part].get("problem", "").startswith(sentence) for part in ("words", "influence"))


def test_without_pytorch_words_remain_and_a_line_says_what_the_extra_adds(monkeypatch, capsys):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *rest: None if name == "torch" else find(name, *rest))
    code, out, _ = trace(capsys, "hello the user")
    assert code == 0 and "nearest in words" in out
    assert "`pip install 'refrain-lm[train]'` brings it" in out.splitlines()[-1]
    code, out, _ = trace(capsys, "hello the user", "--no-influence")
    assert code == 0 and "influence" not in out


def test_a_damaged_model_is_refused_and_rows_of_another_training_are_said_to_be(trained, capsys):
    train = trained / paths.PREPARED / "train.jsonl"
    before = train.read_bytes()
    train.write_bytes(b"".join(before.splitlines(keepends=True)[1:]))
    try:
        _, out, _ = trace(capsys, "hello")
    finally:
        train.write_bytes(before)
    assert "data/prepared is not what this model was trained on" in out
    assert "influence: data/prepared: it is not what this model was made of; `dvc checkout data/prepared`" in out
    graph = trained / paths.ONNX / "best/config.json"
    text = graph.read_text()
    graph.write_text(text + " ")
    try:
        code, out, err = trace(capsys, "hello")
    finally:
        graph.write_text(text)
    assert (code, out) == (1, "") and "config.json: checksum mismatch" in err
