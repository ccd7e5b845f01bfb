"""What serves installs alone, by the steps of the Dockerfile: small, without PyTorch, and it answers as all does."""

import json
import os
import re
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import httpx
import pipeline_repository
import pytest
import served_model
from places import ROOT

import refrain

pytestmark = pytest.mark.slow
LIMIT = 250e6  # bytes of site-packages, pip included
IMAGE_LIMIT = 160e6  # the same in the image, below which are 130 MB of Debian and Python
STAGES = (ROOT / "Dockerfile").read_text().replace("\\\n", " ").split("\nFROM ")[1:]
TRAINING = {"torch", "datasets", "dvc", "transformers", "hydra-core", "omegaconf", "onnx", "peft", "optimum", "pyarrow"}
LISTED = "import importlib.metadata as m; print(*sorted({d.metadata['Name'].lower() for d in m.distributions()}))"


class Environment:
    """An environment of its own, in a folder that knows nothing of the repository."""

    def __init__(self, folder):
        self.folder, self.bin = folder, folder / "env/bin"
        kept = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "VIRTUAL_ENV")}
        self.variables = kept | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
        self.sizes = []  # of site-packages, after each step

    def run(self, program, *arguments):
        command = [self.bin / program, *map(str, arguments)]
        return subprocess.run(command, cwd=self.folder, env=self.variables, capture_output=True, text=True)

    def build(self, sources):
        """What the Dockerfile runs to build the image, here instead of in /opt/refrain."""
        for line in STAGES[0].splitlines():
            command = line.replace("/opt/refrain", str(self.folder / "env")).split(maxsplit=1)
            match command:
                case ["COPY", names]:
                    pipeline_repository.copy(sources, *names.split()[:-1])
                case ["RUN", script]:
                    done = subprocess.run(
                        script, shell=True, cwd=sources, env=self.variables, capture_output=True, text=True
                    )
                    if done.returncode and "NewConnectionError" in done.stderr:  # of a try that was repeated, too
                        pytest.skip("the package registry is out of reach")
                    assert done.returncode == 0, done.stderr
                    self.sizes.append(sum(f.stat().st_size for f in self.site_packages.rglob("*") if f.is_file()))

    @property
    def site_packages(self):
        return next(self.folder.glob("env/lib/python3*/site-packages"))


@pytest.fixture(scope="module")
def core(tmp_path_factory):
    """`pip install .` as the image has it, from a copy: a build leaves files beside the sources."""
    environment = Environment(tmp_path_factory.mktemp("core"))
    environment.build(tmp_path_factory.mktemp("sources"))
    return environment


def test_the_core_is_small_and_brings_nothing_that_trains(core):
    assert not TRAINING & {*core.run("python", "-c", LISTED).stdout.split()}
    print(core.sizes)
    assert core.sizes[1] <= LIMIT and core.sizes[-1] <= IMAGE_LIMIT, [f"{size / 1e6:.0f} MB" for size in core.sizes]


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


@pytest.mark.parametrize("command", ["audit", "verify"])
def test_a_command_that_needs_more_says_which_extra(core, command):
    done = core.run("refrain", command)
    assert (done.returncode, done.stdout, done.stderr) == (
        1,
        "",
        "refrain: this command needs the extra train, for omegaconf is not installed; "
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


def words_of(instruction):
    """What an instruction of the image's own stage says: its list, or its text."""
    said = re.search(rf"^{instruction} (.*)$", STAGES[1], re.MULTILINE)[1]
    return json.loads(said) if said.startswith("[") else said


@contextmanager
def container(core, folder, **variables):
    """What the image starts, in its folder and with its variables: a process, and the line that it prints."""
    image = dict(part.split("=") for part in words_of("ENV").split())
    command = [word.replace("/opt/refrain", str(core.folder / "env")) for word in words_of("ENTRYPOINT")]
    process = subprocess.Popen(
        command, cwd=folder, env=core.variables | image | variables, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True,
    )  # fmt: skip
    try:
        yield process, process.stdout.readline()
    finally:
        process.kill()
        process.communicate()


def test_the_image_starts_with_a_key_alone(core, tmp_path):
    with container(core, tmp_path) as (process, line):
        assert (line, process.wait(120)) == ("", 1)
        assert "requests need no key; set REFRAIN_SERVE_API_KEY" in process.stderr.read()


def test_the_image_answers_is_healthy_writes_nothing_and_ends_at_sigterm(core, tmp_path):
    served_model.build(tmp_path / "models")
    before = {*core.folder.rglob("*"), *tmp_path.rglob("*")}
    with container(core, tmp_path, REFRAIN_SERVE_API_KEY="sk-1", REFRAIN_SERVE_PORT="0") as (process, line):
        port = re.match(r"http://0\.0\.0\.0:(\d+) serves refrain: int8", line)[1]
        body = {"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 2}
        url, bearer = f"http://127.0.0.1:{port}", {"Authorization": "Bearer sk-1"}
        assert httpx.post(f"{url}/v1/chat/completions", json=body, headers=bearer).json()["choices"]
        assert (httpx.get(url).status_code, httpx.get(f"{url}/metrics").status_code) == (200, 401)
        program, *arguments = words_of("HEALTHCHECK .* CMD")
        healthy = [program.replace("/opt/refrain", str(core.folder / "env")), *arguments]
        subprocess.run(healthy, env={"REFRAIN_SERVE_PORT": port}, check=True)
        process.terminate()
        assert process.wait(120) == 0
    assert {*core.folder.rglob("*"), *tmp_path.rglob("*")} == before
