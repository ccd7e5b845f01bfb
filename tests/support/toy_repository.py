"""A toy repository whose stages are named like the real ones and done in no time, with an adapter and an artifact."""

import json
from pathlib import Path

import pipeline_repository
from omegaconf import OmegaConf

STAGES = {
    "base": ("seed", ["data.txt"], ["models/base"]),
    "train": ("method", ["models/base", "work.py"], ["models/adapter"]),
    "export": ("rate", ["models/adapter", "data.txt"], ["models/onnx"]),
    "evaluate": (None, ["models/onnx"], [{"reports/metrics.json": {"cache": False}}]),
}
WORK = """
import json, sys
from pathlib import Path
import yaml

params = yaml.safe_load(Path("params.yaml").read_text())

def base():
    write("models/base/weights", f"{params['seed']} {Path('data.txt').read_text()}")

def train():
    if params["method"]["init_adapter"]:
        from refrain.pipeline import revisions
        revisions.fetch_adapter(params["method"]["init_adapter"], Path("models/adapter"))
        more = Path("models/adapter/weights").read_text()
    earlier = more if params["method"]["init_adapter"] else ""
    write("models/adapter/weights", Path("models/base/weights").read_text() + earlier)
    if params["method"]["adapter"]:
        write("models/adapter/adapter_config.json", "{}")

def export():
    write("models/onnx/model.onnx", Path("models/adapter/weights").read_text())
    write("models/onnx/manifest.json", '{"cpu": "Z80", "versions": {"torch": "0.1"}, "files": {}}')

def evaluate():
    write("reports/metrics.json", '{"merged": {"rows": 4, "rougeL": 0.5, "perplexity": 2.0}}')

def write(path, text):
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_text(text)

globals()[sys.argv[1]]()
"""


def repository(folder: Path) -> Path:
    """The toy, run once and committed."""
    folder.mkdir(parents=True)
    (folder / "work.py").write_text(WORK)
    (folder / "data.txt").write_text("two\nlines\n")
    (folder / ".gitignore").write_text("/reports/loss\n")
    values = {"seed": 1, "rate": 1e-6, "method": {"init_adapter": None, "adapter": True}}
    (folder / "params.yaml").write_text(OmegaConf.to_yaml(values))
    stages = {
        name: {"cmd": f"python work.py {name}", "params": [param] if param else [], "deps": deps, "outs": outs}
        for name, (param, deps, outs) in STAGES.items()
    }
    (folder / "dvc.yaml").write_text(json.dumps({"stages": stages}))
    pipeline_repository.init_git(folder)
    pipeline_repository.dvc(folder, "init", "-q")
    again(folder)
    return folder


def again(folder: Path) -> str:
    """The commit of the folder as it is now, after a run."""
    pipeline_repository.dvc(folder, "repro")
    pipeline_repository.commit(folder)
    return pipeline_repository.run(folder, "git", "rev-parse", "HEAD").strip()
