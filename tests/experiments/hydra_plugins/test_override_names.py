"""What dvc exp run is asked to set is answered as `stages.compose` would answer it."""

import shutil
import subprocess
import sys

import pytest
from places import ROOT

from refrain.experiments.hydra_plugins import override_names

RUN = ["exp", "run", "-f", "--queue"]


@pytest.mark.parametrize("override", [
    "train.lr=1e-3,1e-4", "method=lora,dpo", "method=null", "recipe=tiny_lora", "~recipe", "+train.lr=1",
    "seed=range(1,4)", "data.leaks.run=3", "data.sources=[{path: a.csv}]", "other.yaml:train.learning_rate=1",
    "hydra.job.name=a", "launch=glob(*)",
])  # fmt: skip
def test_what_may_be_right_is_left_to_hydra(override):
    assert override_names.find_problem([*RUN, "-S", override], ROOT / "conf") is None


@pytest.mark.parametrize("option", ["-S", "--set-param"])
@pytest.mark.parametrize(("override", "answer"), {
    "train.learning_rate=1e-4": "here it is train.lr: the highest learning rate",
    "train.num_beams=4": "nothing sets it here: evaluate takes the likeliest token each time",
    "train.learning_rate=1e-4,1e-5": "here it is train.lr: the highest learning rate",
    "method=lora,lorra": "conf/method has ",
    "merge.tolerance=1": "its meaning is no more; set merge.relative_logits",
}.items())  # fmt: skip
def test_what_conf_lacks_is_answered_with_what_it_has(override, answer, option):
    assert answer in override_names.find_problem([*RUN, option, "seed=1", option, override], ROOT / "conf")


@pytest.mark.heavy
def test_dvc_says_it_and_leaves_params_alone(tmp_path):
    for name in (".dvc/config", "refrain/experiments/hydra_plugins/override_names.py"):
        (tmp_path / name).parent.mkdir(parents=True)
        shutil.copy(ROOT / name, tmp_path / name)
    shutil.copytree(ROOT / "conf", tmp_path / "conf")
    (tmp_path / "dvc.yaml").write_text("stages:\n  s: {cmd: cp params.yaml out, params: [seed], outs: [out]}\n")
    (tmp_path / "params.yaml").write_text("seed: 1\n")
    for command in ("init -q", "add -A", "-c user.name=a -c user.email=a@example.org commit -qm a"):
        subprocess.run(["git", *command.split()], cwd=tmp_path, check=True)
    command = [sys.executable, "-m", "dvc", "exp", "run", "-S", "train.learning_rate=1e-4"]
    refused = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert refused.returncode == 1
    assert refused.stderr.splitlines()[-1].endswith("here it is train.lr: the highest learning rate")
    assert (tmp_path / "params.yaml").read_text() == "seed: 1\n"
