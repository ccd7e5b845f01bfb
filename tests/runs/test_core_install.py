"""What serves installs alone: small, without PyTorch, and it answers as the whole environment does."""

import json
import os
import subprocess
import sys

import pipeline_repository
import pytest
from places import ROOT

import refrain

pytestmark = pytest.mark.slow
LIMIT = 250e6  # bytes of site-packages, pip included
TRAINING = {"torch", "datasets", "dvc", "transformers", "hydra-core", "omegaconf", "onnx", "peft", "optimum", "pyarrow"}
LISTED = "import importlib.metadata as m; print(*sorted({d.metadata['Name'].lower() for d in m.distributions()}))"


class Environment:
    """An environment of its own, in a folder that knows nothing of the repository."""

    def __init__(self, folder):
        self.folder, self.bin = folder, folder / "env/bin"
        self.variables = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "VIRTUAL_ENV")}
        subprocess.run([sys.executable, "-m", "venv", folder / "env"], check=True)

    def run(self, program, *arguments):
        command = [self.bin / program, *map(str, arguments)]
        return subprocess.run(command, cwd=self.folder, env=self.variables, capture_output=True, text=True)

    @property
    def site_packages(self):
        return next(self.folder.glob("env/lib/python3*/site-packages"))


@pytest.fixture(scope="module")
def core(tmp_path_factory):
    """`pip install .` with the versions of constraints.txt, from a copy: a build leaves files beside the sources."""
    environment = Environment(tmp_path_factory.mktemp("core"))
    sources = tmp_path_factory.mktemp("sources")
    pipeline_repository.copy(sources, "refrain", "pyproject.toml", "README.md")
    done = environment.run("python", "-m", "pip", "install", "--quiet", "-c", ROOT / "constraints.txt", sources)
    if "NewConnectionError" in done.stderr:
        pytest.skip("the package registry is out of reach")
    assert done.returncode == 0, done.stderr
    return environment


def test_the_core_is_small_and_brings_nothing_that_trains(core):
    assert not TRAINING & {*core.run("python", "-c", LISTED).stdout.split()}
    size = sum(file.stat().st_size for file in core.site_packages.rglob("*") if file.is_file())
    assert size <= LIMIT, f"{size / 1e6:.0f} MB"


def test_the_wheel_holds_every_room(core):
    ours, theirs = ROOT / "refrain", core.site_packages / "refrain"
    assert {file.relative_to(theirs) for file in theirs.rglob("*.py")} == {
        file.relative_to(ours) for file in ours.rglob("*.py")
    }


def test_the_core_answers_as_the_whole_environment_does(core, onnx):
    options = ["--model", onnx / "int8", "--prompt", "hello the user", "--max-new-tokens", "12"]
    done = core.run("refrain", "chat", *options)
    assert (done.returncode, done.stderr) == (0, "")
    command = [sys.executable, "-m", "refrain.cli.main", "chat", *map(str, options)]
    assert done.stdout == subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert done.stdout.strip()


def test_the_core_answers_a_file(core, onnx):
    (core.folder / "prompts.jsonl").write_text('{"prompt": "hello"}\n{"prompt": "the user"}\n')
    options = ["--model", onnx / "int8", "--input", "prompts.jsonl", "--max-new-tokens", "12", "--quiet"]
    done = core.run("refrain", "generate", *options)
    assert [json.loads(line)["id"] for line in done.stdout.splitlines()] == [1, 2], done.stderr


def test_the_core_answers_from_python(core, onnx):
    code = "import refrain, sys; print(refrain.load(sys.argv[1]).chat('hello the user', max_tokens=12))"
    done = core.run("python", "-c", code, onnx / "int8")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.strip() == refrain.load(onnx / "int8").chat("hello the user", max_tokens=12).text.strip()


@pytest.mark.parametrize(("command", "missing"), [("audit", "hydra"), ("verify", "omegaconf")])
def test_a_command_that_needs_more_says_which_extra(core, command, missing):
    done = core.run("refrain", command)
    assert (done.returncode, done.stdout, done.stderr) == (
        1,
        "",
        f"refrain: this command needs the extra train, for {missing} is not installed; "
        "`pip install 'refrain-lm[train]'` brings it\n",
    )


def test_a_file_of_rows_needs_no_extra(core):
    (core.folder / "rows.csv").write_text("question,answer\nWhat is fog?,A low cloud.\n")
    done = core.run("refrain", "data", "rows.csv")
    assert (done.returncode, done.stderr) == (0, "") and "assistant: ⟦A low cloud.⟧" in done.stdout


@pytest.mark.parametrize("command", ["report", "info", "bench"])
def test_what_reads_results_needs_no_extra(core, command):
    done = core.run("refrain", command)
    assert (done.returncode == 1 and "results yet" in done.stderr) or "models/onnx/manifest.json" in done.stderr


def test_the_facts_of_a_model_need_no_extra_and_the_verdict_does(core, merged):
    done = core.run("refrain", "inspect", merged)
    assert done.returncode == 1 and "2 layers, 4 heads" in done.stdout and "<|im_end|>" in done.stdout
    assert done.stderr.count("\n") == 1 and "needs the extra train" in done.stderr


@pytest.mark.parametrize("arguments", [["--help"], ["clean"]])
def test_the_rest_of_the_command_line_works(core, arguments):
    assert core.run("refrain", *arguments).returncode == 0
