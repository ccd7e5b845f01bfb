import os
import subprocess
import sys
from itertools import chain
from pathlib import Path

import pytest
from command_line import BUFFERED, REFRAIN
from places import ROOT

from refrain.cli import main
from refrain.pipeline import manifest


def loaded(code):
    """The modules that are there after some code has run in a fresh interpreter."""
    code += "; import sys; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    return done.stdout.split()


CYCLE = """
class Cycle:
    def __init__(self):
        self.itself = self
    def __del__(self):
        print("searched")
Cycle()
"""


STARTS = (
    "from refrain.cli import main; main.main([])",
    "from refrain.pipeline import runner; runner.run_command(print, '')",
)


@pytest.mark.parametrize("start", STARTS)
def test_what_is_there_when_a_command_ends_is_not_searched_for_garbage(start):
    ends = [
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT).stdout
        for code in (CYCLE, f"{start}\n{CYCLE}")
    ]
    assert "searched" in ends[0] and "searched" not in ends[1]


HEAVY = {
    "tqdm",
    "urllib.request",
    "dataclasses",
    "yaml",
    "numpy",
    "onnxruntime",
    "tokenizers",
    "jinja2",
    "llguidance",
    "onnx",
    "matplotlib",
    "dvc",
    "torch",
}


def test_help_waits_for_nothing_heavy():
    modules = loaded("from refrain.cli import main; main.build_parser().format_help()")
    assert "refrain.cli.main" in modules and not HEAVY & set(modules)


def test_a_command_waits_for_no_other():
    modules = loaded("from refrain.cli import main; main.build_parser('chat')")
    assert "refrain.cli.chat" in modules and not {"refrain.cli.generate", "refrain.cli.publish"} & set(modules)


@pytest.mark.parametrize("name", chain.from_iterable(main.GROUPS.values()))
def test_each_command_is_listed_and_explains_itself(name, capsys):
    command = name.replace("_", "-")
    for words in ([command, "--help"], ["--help"]):
        with pytest.raises(SystemExit) as ended:
            main.main(words)
        assert ended.value.code == 0
    own, _, listed = capsys.readouterr().out.partition("usage: refrain COMMAND ...")
    assert own.startswith(f"usage: refrain {command} ") and f"\n  {command:<16}" in listed


def test_talking_needs_neither_torch_nor_transformers():
    modules = loaded(
        "from refrain.cli import generate, main, terminal; from refrain.generation import grammar;"
        "from refrain.pipeline import manifest; from refrain.runtime import loading"
    )
    assert "refrain.cli.terminal" in modules and not {"torch", "transformers", "optimum", "onnx"} & set(modules)


def test_a_full_disk_is_one_sentence(tmp_path):
    manifest.write_manifest(tmp_path, {})
    command = [*REFRAIN, "check", str(tmp_path)]
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, cwd=ROOT, env=BUFFERED)
    said = "refrain: no space is left where this is written; free some, or write it elsewhere\n"
    assert (done.returncode, done.stderr) == (1, said)


def test_a_reply_waits_for_nothing_that_it_does_not_need():
    modules = loaded(
        "from refrain.generation import chat_model; from refrain.generation.sampling import Sampler, SamplingParams;"
        "Sampler(SamplingParams(), [1, 2, 1])"
    )
    idle = {"asyncio", "numpy.random", "numpy.ma", "llguidance", "tqdm", "msgspec"}
    assert "numpy" in modules and not idle & set(modules)


@pytest.mark.parametrize("command", ["chat", "generate", "serve"])
def test_openblas_starts_no_threads_that_no_reply_needs_unless_told_to(command, monkeypatch, capsys):
    model = ["nowhere"] if command == "serve" else ["--model", "nowhere"]
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "2")
    assert main.main([command, *model]) == 1 and os.environ["OPENBLAS_NUM_THREADS"] == "2"
    monkeypatch.delenv("OPENBLAS_NUM_THREADS")
    assert main.main([command, *model]) == 1 and os.environ["OPENBLAS_NUM_THREADS"] == "1"
    assert "nowhere" in capsys.readouterr().err
