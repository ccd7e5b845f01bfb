"""`refrain data`: how a file would be read and what would be learned of it, in any folder, without a model."""

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import prepare_stage
import pytest
from places import ROOT
from prepare_stage import numbered, qa

from refrain.cli import main
from refrain.experiments import compose
from refrain.pipeline import params, validation


@pytest.fixture
def data(capsys, monkeypatch, tmp_path):
    """The exit code, stdout and stderr of the command in a folder that is no repository."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        code = main.main(["data", *map(str, arguments)])
        return code, *capsys.readouterr()

    return run


def write(name, rows, folder="."):
    (path := Path(folder, name)).write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def counts(out, name):
    """The numbers of a file, by place."""
    lines = out.splitlines()
    head = next(number for number, line in enumerate(lines) if line.split()[:2] == ["rows", "train"])
    row = next(line for line in lines[head:] if line.startswith(name))
    places = re.split(r"\s+", lines[head].strip().replace("set aside", "set_aside"))
    return dict(zip(places, map(int, row.replace(",", "").split()[1:]), strict=True))


def test_a_file_is_shown_as_prepare_reads_it(data):
    rows = [*numbered(20), qa(""), {"question": ["x", "z"], "answer": "y"}, *numbered(1)]
    write("a.jsonl", [{**row, "lang": "en", "score": 1} for row in rows])
    code, out, err = data("a.jsonl")
    assert (code, err) == (0, "")
    assert counts(out, "a.jsonl") == {"rows": 23, "train": 20, "duplicates": 1, "quarantined": 2}
    assert re.search(r"^a\.jsonl\n  format +JSON Lines\n  shape +qa\n", out)
    assert "ignored" in out and "lang (21 rows), score (21 rows); map one with fields" in out
    assert "empty_text 1: A question, or the reply" in out and "  a.jsonl:21: question of the row is empty\n" in out
    assert "duplicate 1: An earlier row" in out and "  a.jsonl:23: an earlier row asks" in out
    shown = re.findall(r"^a\.jsonl:(\d+)\nuser: (.*)\nassistant: ⟦(\d+)⟧$", out, re.MULTILINE)
    assert len(shown) == 10 and all(question.startswith(f"a{number} ") for _, question, number in shown)
    assert re.search(r"^whole row, words +7 +7 +7 +7 +7$", out, re.MULTILINE)


def test_what_prepare_counts_is_counted(data, tmp_path):
    chat = {"messages": [{"role": "user", "content": "x\r\n"}, {"role": "assistant", "content": "y", "weight": 0}]}
    sources = [("a.jsonl", [*numbered(9), *numbered(2)], {}), ("b.jsonl", [chat, {**chat, "messages": [1]}], {})]
    prepare_stage.run(*sources)
    report = prepare_stage.report()
    files = [write(name, rows) for name, rows, _ in sources]
    code, out, err = data(*files)
    assert code == 1 and "refrain: b.jsonl: 1 of 2 rows are broken (not_an_object 1), a larger share than " in err
    for name, total in (
        ("a.jsonl", report["sources"]["0-a.jsonl"]),
        ("b.jsonl", report["sources"]["1-b.jsonl"]),
        ("all", report),
    ):
        assert {place: total[place] for place in counts(out, name)} == counts(out, name)
    assert all(f"{reason} {rows}: " in out for reason, rows in report["reasons"].items())


def test_columns_are_mapped_by_the_keys_of_a_source_and_the_line_that_runs_it_says_so(data, tmp_path, monkeypatch):
    (tmp_path / "it's, [ö].csv").write_text(
        "Frage,Antwort\n" + "".join(f"Was ist {n}?,Es ist {n}.\n" for n in range(9))
    )
    options = ["fields.question=Frage", "fields.answer=Antwort", "split=train"]
    code, out, err = data("it's, [ö].csv", *options)
    assert (code, err) == (0, "") and "user: Was ist 3?\nassistant: ⟦Es ist 3.⟧" in out
    assert re.search(r"\n  format +CSV, commas between.*\n", out)
    assert re.search(r"\n  columns +Frage as question, Antwort as answer\n", out)
    command = shlex.split(out.splitlines()[-1].partition("Refrain: ")[2])
    overrides = [word for word in command if "=" in word]
    monkeypatch.chdir(ROOT)
    source = params.to_config(compose.compose_params(overrides)).data.sources[0]
    assert source.fields == {"question": "Frage", "answer": "Antwort"} and source.split == "train"
    assert Path(source.path).is_file()


def test_in_a_repository_conf_decides(data, tmp_path):
    (tmp_path / "conf").symlink_to(ROOT / "conf")
    chat = {"messages": [{"role": role, "content": "x"} for role in ("user", "assistant", "user")]}
    files = write("a.jsonl", numbered(40)), write("b.jsonl", [chat])
    code, out, _ = data(*files)
    found = counts(out, "all")
    assert code == 0 and found["val"] + found["test"] > 0 and found["set_aside"] == 1
    assert out.splitlines()[-1] == "dvc exp run -S data=files -S 'data.sources=[{path:a.jsonl},{path:b.jsonl}]'"
    options = ["data.policies.unanswered=cut", "data.val_fraction=0", "data.test_fraction=0"]
    code, out, _ = data(*files, *options)
    assert counts(out, "all") == {"rows": 41, "train": 41}
    assert out.splitlines()[-1].endswith(" ".join(f"-S {option}" for option in options))


def test_what_people_said_is_learned_behind_the_rows_of_before(data, tmp_path):
    (tmp_path / "conf").symlink_to(ROOT / "conf")
    (tmp_path / "data/raw").mkdir(parents=True)
    file = write("feedback.jsonl", numbered(4), "data/raw")
    assert data(file)[1].splitlines()[-1] == "dvc exp run -S data=feedback"
    assert data(file.absolute(), "seed=3")[1].splitlines()[-1] == "dvc exp run -S data=feedback -S seed=3"
    other = write("feedback.jsonl", numbered(4))
    assert "data.sources=[" in data(other)[1].splitlines()[-1] and "data.sources=[" in data(file, other)[1]


def test_without_a_repository_the_policies_are_those_of_conf(monkeypatch):
    assert all(
        choices[0] == getattr(prepare_stage.defaults().data.policies, name)
        for name, choices in validation.POLICIES.items()
    )
    assert prepare_stage.defaults().data.policies.pii == []


@pytest.mark.heavy
def test_neither_hydra_nor_a_library_that_trains_is_needed(tmp_path):
    write("a.jsonl", numbered(3), tmp_path)
    trains = ("hydra", "omegaconf", "torch", "transformers", "pyarrow", "dvc", "psutil", "regex", "huggingface_hub")
    program = f"import sys; sys.modules.update(dict.fromkeys({trains})); from refrain.cli.main import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", program, "data", "a.jsonl"], cwd=tmp_path, capture_output=True, text=True
    )
    assert "assistant: ⟦2⟧" in done.stdout and done.stderr == ""


def test_where_no_row_can_be_learned_the_reasons_are_said(data):
    write("a.jsonl", [qa("", "y"), {"question": 1, "answer": {}}])
    code, out, err = data("a.jsonl")
    assert code == 1 and "  a.jsonl:1: question of the row is empty" in out and "⟦" not in out
    assert err.startswith(
        "refrain: no row is left to train on: of 2 rows in a.jsonl 2 are broken (empty_text 1, not_text 1); "
    )
    assert err.count("\n") == 1 and "dvc exp run" not in out


@pytest.mark.parametrize(("arguments", "words"), [
    (["none.jsonl"], "there is no file none.jsonl"),
    (["a.jsonl", "feilds.question=q"], "feilds.question=q: a source has no key feilds; it has "),
    (["a.jsonl", "fields=q"], "fields=q: write fields.our_name=..."),
    (["a.jsonl", "shape.x=q"], "shape.x=q: write shape=..."),
    (["a.jsonl", "shape=qb"], "there is no shape qb"),
    (["a.jsonl", "fields.question=q"], "q is no column"),
    (["a.jsonl", "split=dev"], "split=dev of a.jsonl is none of"),
    (["a.jsonl", "data.val_fraction=1"], "data.val_fraction=1: there is no conf/ here that it could change"),
    (["shape=qa"], "shape=qa: name a file of rows"),
    (["a.txt"], "a.txt: it holds plain text, in which nothing tells questions from replies; "),
    (["a.dat"], "a.dat: unknown format; use one of .json "),
])  # fmt: skip
def test_a_mistake_is_one_sentence(data, arguments, words):
    write("a.jsonl", numbered(3))
    Path("a.txt").write_text("x")
    Path("a.dat").write_bytes(bytes(9))
    code, out, err = data(*arguments)
    assert (code, out) == (1, "") and words in err and err.startswith("refrain: ") and err.count("\n") == 1


def test_a_folder_is_read_file_by_file_by_the_splits_of_their_names(data):
    Path("birds").mkdir()
    for name, rows in (("train.jsonl", numbered(9)), ("test.jsonl", [qa("only here")])):
        write(name, rows, "birds")
    code, out, _ = data("birds")
    assert code == 0 and counts(out, "all") == {"rows": 10, "train": 9, "test": 1}
    assert re.search(r"^birds/test\.jsonl\n(?:  .*\n)*  split +test$", out, re.MULTILINE)


def test_a_file_whose_name_looks_like_a_setting_is_a_file(data):
    write("shape=qa.jsonl", numbered(3))
    assert data("shape=qa.jsonl")[0] == 0


def test_a_file_that_makes_no_sense_is_called_by_its_name(data, tmp_path):
    (tmp_path / "one.json").write_text('{"a": 1}')
    code, _, err = data("one.json")
    assert code == 1 and err.startswith("refrain: one.json: an object must hold one list")
