"""What stands in examples/, run as it stands: the notebook cell by cell, then the script in the same folder."""

import contextlib
import io
import json
import subprocess
import sys
from typing import Any

import forked_python
import pytest
from places import ROOT

NOTEBOOK, SCRIPT = ROOT / "examples/finetune.ipynb", ROOT / "examples/finetune.py"


def code_cells():
    return [cell for cell in json.loads(NOTEBOOK.read_text())["cells"] if cell["cell_type"] == "code"]


def test_the_notebook_is_one_that_programs_open_and_holds_no_outputs():
    notebook = json.loads(NOTEBOOK.read_text())
    assert (notebook["nbformat"], notebook["nbformat_minor"]) == (4, 5)
    assert len({cell["id"] for cell in notebook["cells"]}) == len(notebook["cells"])
    assert not [cell for cell in code_cells() if cell["outputs"] or cell["execution_count"] is not None]


@pytest.mark.slow
def test_the_notebook_and_the_script_end_with_the_same_model(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, value in forked_python.forked_stages().items():
        monkeypatch.setenv(name, value)
    names: dict[str, Any] = {}
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        for cell in code_cells():
            exec(compile("".join(cell["source"]), NOTEBOOK.name, "exec"), names)
    assert names["data"].reasons == {"duplicate": 1} and len(names["data"]) == 31
    shown = [*names["data"].train[:2], *names["data"].test]
    learned = [[message["content"] for message in row["messages"]] for row in shown]
    lines = said.getvalue().splitlines()
    assert lines[:2] == ["  ".join(turns) for turns in learned[:2]]
    assert [line.split("  ")[0] for line in lines] == [question for question, _ in learned]
    done = subprocess.run([sys.executable, SCRIPT], capture_output=True, text=True)
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, learned[0][1]), done.stderr
    assert done.stderr.count("nothing has changed") == 5
