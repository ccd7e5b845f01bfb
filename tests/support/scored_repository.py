"""A toy repository whose one stage answers test rows at once: as many rightly as its params say."""

import json
import sys
from pathlib import Path

import pipeline_repository

ROWS = 40
ANSWERS = """
import json
from pathlib import Path
from omegaconf import OmegaConf

params = OmegaConf.load("params.yaml")

def answer(i, share):
    reference = f"{params.answer} {i}"
    is_right = (i * 7 + params.seed) % params.rows < share * params.rows
    row = {"id": f"0-test.jsonl:{i + 1}", "question": f"Why {i}?", "reference": reference}
    said = reference if is_right else f"nobody knows \\x1b[31m{i}"
    return row | {"prediction": said, "loss": 2.0 if is_right else 6.0 + i / 100, "tokens": 4}

def write(path, text):
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_text(text)

fraction = params.data.train_fraction
shares = {"base": 0.0, "merged": params.skill, "onnx-fp32": params.skill, "onnx-int8": params.skill * fraction}
for model, share in shares.items():
    rows = [answer(i, share) for i in range(params.rows)]
    write(f"reports/predictions/{model}.jsonl", "".join(json.dumps(row) + "\\n" for row in rows))
write("models/onnx/manifest.json", json.dumps({"best": "int8", "files": {}}))
write("reports/summary.json", json.dumps({"rows": int(1000 * fraction), "rougeL": {"best": params.skill * fraction}}))
"""

BUILD = """
import json, subprocess, sys
from pathlib import Path
from dvc.cli import main
from omegaconf import OmegaConf

def dvc(*words):
    assert main([*words]) == 0, words

store, runs = sys.argv[1:]
dvc("init", "-q")
dvc("remote", "add", "--default", "store", store)
for tag, values in json.loads(runs).items():
    Path("params.yaml").write_text(OmegaConf.to_yaml(values))
    dvc("repro")
    for words in (["add", "-A"], ["commit", "-qm", "All of it"], ["tag", tag]):
        subprocess.run(["git", *words], check=True)
"""  # in one process, for DVC takes longer to load than all of this


def repository(folder: Path) -> Path:
    """Tag `half`: half of the rows are right; `others`: it has other test rows; `newest`: nine of ten are right.

    Tags `repeated-0.5` and `repeated-0.9` are as the first and the last, with another seed.
    A remote, `store` beside it, is set and empty.
    """
    (folder / "conf").mkdir(parents=True)
    (folder / "conf/config.yaml").touch()
    (folder / "answers.py").write_text(ANSWERS)
    stage = {
        "cmd": "python answers.py",
        "deps": ["answers.py"],
        "params": ["skill", "seed", "rows", "answer", "data"],
        "outs": ["reports/predictions", "models/onnx"],
        "metrics": [{"reports/summary.json": {"cache": False}}],
    }
    (folder / "dvc.yaml").write_text(json.dumps({"stages": {"evaluate": stage}}))
    pipeline_repository.init_git(folder)
    runs = {
        "half": {"skill": 0.5},
        "repeated-0.5": {"skill": 0.5, "seed": 2},
        "repeated-0.9": {"skill": 0.9, "seed": 2},
        "others": {"skill": 0.5, "rows": ROWS + 4, "answer": "so it is said"},
        "newest": {"skill": 0.9},
    }
    plain = {"seed": 1, "rows": ROWS, "answer": "because of", "data": {"train_fraction": 1.0}}
    values = {tag: {**plain, **others} for tag, others in runs.items()}
    store = str(folder.parent / "store")
    pipeline_repository.run(folder, sys.executable, "-c", BUILD, store, json.dumps(values))
    return folder
