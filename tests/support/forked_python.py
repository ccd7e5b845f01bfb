"""Python processes for the price of a fork: from one that has loaded large libraries, and nothing that reads the
environment when it is imported. For what wants an environment or a start of its own; the real command is tested once.
"""

import atexit
import json
import os
import select
import subprocess
import sys
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from places import PLAIN_INSTALL, ROOT

LARGE = ("torch", "transformers.masking_utils", "transformers.models.llama", "transformers.trainer", "peft")
DVC = (
    "dvc.cli.parser", "dvc.repo", "dvc.dvcfile", "dvc.lock", "dvc.data_cloud", "dvc.repo.plots", "dvc.utils.hydra",
    "ruamel.yaml", "scmrepo.git", "hydra._internal.hydra", "omegaconf.grammar_parser", "tokenizers",
)  # fmt: skip
PATIENCE = 1800  # seconds after which what has not ended hangs
SERVER = """
import gc, importlib, json, os, sys, traceback

for name in sys.argv[1:]:
    importlib.import_module(name)
gc.freeze()
for line in sys.stdin:
    code, arguments, folder, processes = json.loads(line)
    children = []
    for environment, *outputs in processes:
        if child := os.fork():
            children.append(child)
            continue
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        for number, output in enumerate(outputs, 1):
            os.dup2(os.open(output, os.O_WRONLY | os.O_CREAT | os.O_APPEND), number)
        os.chdir(folder)
        os.environ.clear()
        os.environ.update(environment)
        for name in [name for name in sys.modules if name.partition(".")[0] in ("huggingface_hub", "refrain")]:
            del sys.modules[name]
        sys.argv, sys.path[0] = ["-c", *arguments], ""
        status = 1
        try:
            exec(code, {"__name__": "__main__"})
            status = 0
        except SystemExit as end:
            status = int(end.code or 0)
        except BaseException:
            traceback.print_exc()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)  # for the end of a Python would touch all that it shares with its parent
    print(json.dumps([os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]), flush=True)
"""


@cache
def server(modules: tuple[str, ...]) -> subprocess.Popen[str]:
    """The process that is forked, started when it is first needed."""
    places = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    settings = {"PYTHONPATH": str(PLAIN_INSTALL), "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen([sys.executable, "-c", SERVER, *modules], env=places | settings, cwd=ROOT, text=True,
                               stdin=subprocess.PIPE, stdout=subprocess.PIPE)  # fmt: skip
    atexit.register(process.communicate)  # it ends where its input does
    return process


def fork(modules: tuple[str, ...], code: str, arguments: tuple[str, ...], folder: Path, *processes: list) -> list[int]:
    """The exit codes of `python -c CODE ARGUMENTS`, run at a time in processes of an environment and two files each."""
    forked = server(modules)
    forked.stdin.write(json.dumps([code, arguments, str(folder), processes]) + "\n")
    forked.stdin.flush()
    assert select.select([forked.stdout], [], [], PATIENCE)[0], f"{code}, {arguments}: it hangs"
    return json.loads(forked.stdout.readline())


def run(
    code: str, *arguments: str, outputs: Path, folder: Path = ROOT, environment: Mapping[str, str]
) -> subprocess.CompletedProcess[str]:
    """What `python -c CODE ARGUMENTS` does in a folder and an environment; it speaks through files in `outputs`."""
    return run_together(code, *arguments, outputs=outputs, folder=folder, environments=[environment])[0]


def run_together(
    code: str, *arguments: str, outputs: Path, folder: Path, environments: list[Mapping[str, str]]
) -> list[subprocess.CompletedProcess[str]]:
    """The same in several environments at a time, each in a process of its own."""
    files = [[outputs / f"{name}-{number}.txt" for name in ("stdout", "stderr")] for number in range(len(environments))]
    for file in (file for pair in files for file in pair):
        file.unlink(missing_ok=True)  # what a forked process says is added
    processes = [[dict(each), *map(str, pair)] for each, pair in zip(environments, files, strict=True)]
    codes = fork(LARGE, code, arguments, folder, *processes)
    return [subprocess.CompletedProcess(code, returncode, *(file.read_text() for file in pair))
            for returncode, pair in zip(codes, files, strict=True)]  # fmt: skip
