"""What is about to be learned is held against the rows: six ways to spoil a training, and none of them begins."""

import json
import os
import shutil
import subprocess
import sys

import places
import presets
import pytest
from audited_rows import ROWS
from dialogues import CHATML
from omegaconf import OmegaConf

from refrain.chat import model_folder, records
from refrain.cli import main
from refrain.pipeline import paths
from refrain.training.audit import faults
from stages import train

ROOT = str(places.ROOT)


# Where it runs
@pytest.fixture
def workspace(base, tmp_path, monkeypatch):
    """A folder with a base and with what prepare has left, and a function that writes params.yaml."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(base, paths.BASE)
    paths.make_empty(paths.PREPARED)
    for name in ("train", "val", "test"):
        records.write_rows(paths.PREPARED / f"{name}.jsonl", ROWS)

    def settle(*overrides):
        cfg = presets.config(*overrides)
        paths.PARAMS.write_text(OmegaConf.to_yaml(OmegaConf.structured(cfg)))
        return cfg

    return settle


@pytest.mark.parametrize("method", ["lora", "dpo"])
def test_training_stops_before_the_first_step_and_shows_three_rows(workspace, method):
    for name in ("train", "val"):
        records.write_rows(paths.PREPARED / f"{name}.jsonl", [{**row, "rejected": "no"} for row in ROWS])
    cfg = workspace(f"method={method}")
    cfg.template.jinja = CHATML.replace("in messages", "in messages if message['role'] != 'system'")
    with pytest.raises(ValueError) as stop:
        train.main(cfg)
    sentence, *shown = str(stop.value).split("\n\n", 3)
    assert sentence == ("data/prepared/train.jsonl: in 4 of 4 rows the template leaves out a turn, as if it did not "
                        "know the role; choose another template: template=chatml")  # fmt: skip
    assert [text.split("\n")[0] for text in shown] == ["ordinary", "typed", "borders"]
    assert shown[0].startswith("ordinary\n<|im_start|>user\nhéllo there<|im_end|>\n<|im_start|>assistant\n")
    assert shown[0].endswith("⟦see you 👩\u200d🚀, não?<|im_end|>⟧")
    assert ("⟦hi<|im_end|>⟧" in shown[0]) == (method == "lora") and not paths.ADAPTER.exists()


def test_no_rows_stop_the_training(workspace):
    records.write_rows(paths.PREPARED / "train.jsonl", [])
    with pytest.raises(ValueError, match=r"^data/prepared/train\.jsonl: there is no row to train on, and \d+ rows? in"):
        train.main(workspace())


def test_facts_of_a_training_are_reported(workspace):
    train.main(workspace("train.epochs=1", *presets.SMALL))
    facts = json.loads(paths.TRAIN_REPORT.read_text())["audit"]
    assert facts["train"] == facts["val"] and facts["train"].keys() == {
        "rows",
        "tokens",
        "learned",
        "stripped",
        "unknown",
        "rewritten",
    }
    assert facts["train"]["rows"] == len(ROWS)


def test_the_command_shows_a_table_and_exits_with_one_when_something_is_wrong(workspace, base, capsys):
    workspace()
    assert main.main(["audit"]) == 0
    table = capsys.readouterr().out.splitlines()
    assert len({len(line) for line in table}) == 1 and table[0].split() == ["train", "val", "test"]
    assert sum(line.split()[-3:] == ["OK"] * 3 for line in table) == len(faults.FAULTS)
    model_folder.copy_tokenizer(
        base, paths.make_empty(paths.ONNX / paths.BEST) or paths.ONNX / paths.BEST, CHATML + " "
    )
    records.write_rows(paths.PREPARED / "test.jsonl", [])
    assert main.main(["audit"]) == 1
    shown = capsys.readouterr().out
    assert [line.split() for line in shown.splitlines() if line.startswith("served")] == [
        ["served", "as", "learned", "4", "violated", "4", "violated", "OK"]
    ]
    assert "data/prepared/train.jsonl: in 4 of 4 rows the model is served with another template or tokenizer" in shown
    assert "⟦hi<|im_end|>⟧" in shown


def test_the_command_holds_rows_to_what_is_allowed(workspace, capsys):
    workspace("data.max_tokens=80")
    assert main.main(["audit"]) == 1
    assert (
        "in 1 of 4 rows there are more tokens than the model sees at once or data.max_tokens allows"
        in capsys.readouterr().out
    )


def test_the_command_needs_no_torch(workspace):
    workspace()
    code = "import sys; from refrain.cli import main; main.main(['audit']); sys.exit('torch' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env={**os.environ, "PYTHONPATH": ROOT}
    )
    assert (done.returncode, done.stderr) == (0, "")
