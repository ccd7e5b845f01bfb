"""A toy repository whose one stage answers test rows at once: as many rightly as its params say."""

import json
from pathlib import Path

import pipeline_repository
from omegaconf import OmegaConf

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
    pipeline_repository.run(folder, "git", "init", "-q", "-b", "main")
    pipeline_repository.run(folder, "git", "config", "user.name", "A Tester")
    pipeline_repository.run(folder, "git", "config", "user.email", "tester@example.org")
    pipeline_repository.dvc(folder, "init", "-q")
    pipeline_repository.dvc(folder, "remote", "add", "--default", "store", str(folder.parent / "store"))
    rerun(folder, "half", skill=0.5)
    for skill in (0.5, 0.9):
        rerun(folder, f"repeated-{skill}", skill=skill, seed=2)
    rerun(folder, "others", skill=0.5, rows=ROWS + 4, answer="so it is said")
    rerun(folder, "newest", skill=0.9)
    return folder


def rerun(folder: Path, tag: str, **values: object) -> None:
    """A commit of a run with these values, which differ from the plain ones."""
    plain = {"skill": 0.5, "seed": 1, "rows": ROWS, "answer": "because of", "data": {"train_fraction": 1.0}}
    (folder / "params.yaml").write_text(OmegaConf.to_yaml(plain | values))
    pipeline_repository.dvc(folder, "repro")
    pipeline_repository.commit(folder)
    pipeline_repository.run(folder, "git", "tag", tag)
