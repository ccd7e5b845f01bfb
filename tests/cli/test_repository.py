"""Commands find the root of the repository as git does; what is typed is meant from where a person stands."""

import json
from pathlib import Path

import pytest

from refrain.cli import main, repository
from refrain.pipeline import manifest


@pytest.fixture
def root(tmp_path, monkeypatch):
    """A repository with an artifact; its notes/2026 is where the person stands."""
    (tmp_path / "dvc.yaml").touch()
    (tmp_path / "conf").mkdir()
    for folder in ("models/onnx", "notes/2026"):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "model.onnx").write_text(folder)
        manifest.write_manifest(tmp_path / folder, {})
    monkeypatch.chdir(tmp_path / "notes/2026")
    return tmp_path


def test_a_command_works_at_the_root(root):
    (root / "models/onnx/model.onnx").unlink()
    assert main.main(["clean"]) == 0 and Path.cwd() == root


@pytest.mark.parametrize("typed", [".", "../2026", "{root}/notes/2026", "../../models/onnx"])
def test_a_path_is_meant_from_where_the_person_stands(root, typed, capsys):
    assert main.main(["check", typed.format(root=root)]) == 0
    assert capsys.readouterr() == ("OK, 1 file matches\n", "")


def test_a_message_says_from_where_its_paths_lead(root, capsys):
    assert main.main(["chat", "--model", "../..", "--prompt", "a"]) == 1
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith("refrain: .: it holds no model.onnx; name one of models/onnx, notes/2026")
    assert line.endswith(" (paths as in ../.., the root of the repository)")


def test_a_file_of_rows_is_found(root, capsys):
    Path("a.jsonl").write_text("".join(json.dumps({"question": f"{n}?", "answer": f"{n}."}) + "\n" for n in range(20)))
    assert main.main(["data", "a.jsonl", "shape=qa"]) == 0
    assert capsys.readouterr().out.startswith("a.jsonl\n  format")


def test_without_a_repository_nothing_changes(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert repository.enter_root() == "" and repository.typed_path("a/../b") == Path("a/../b")
    with pytest.raises(ValueError, match="no repository of Refrain is here or above"):
        repository.require_root("a search runs in")


def test_what_is_typed_for_stdin_is_no_path(root):
    assert repository.typed_path("-") == Path("-") and repository.typed_path("x") == Path("notes/2026/x")
    assert repository.typed_model("nobody/nothing") == "nobody/nothing"
    assert repository.find_root().samefile(root)
