"""Python processes for the price of a fork: from one that has loaded large libraries, and nothing that reads the
environment when it is imported. For what wants an environment or a start of its own; the real command is tested once.
"""

import atexit
import json
import os
import select
import socket
import subprocess
import sys
import tempfile
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
FORKED_STAGES = "FORKED_STAGES"  # the socket at which plain_install/forked_stage.py asks for a fork
SERVER = """
import gc, importlib, json, os, runpy, select, signal, socket, sys, traceback

door = socket.socket(fileno=int(sys.argv.pop(1)))
for name in sys.argv[1:]:
    importlib.import_module(name)
gc.freeze()


def enter(folder, environment):
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    for name in [name for name in sys.modules if name.partition(".")[0] in ("huggingface_hub", "refrain")]:
        del sys.modules[name]


def end(act):
    status = 1
    try:
        act()
        status = 0
    except SystemExit as reason:
        status = int(reason.code or 0)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)  # for the end of a Python would touch all that it shares with its parent


def run_code(code, arguments, folder, processes):
    children = []
    for environment, *outputs in processes:
        if child := os.fork():
            children.append(child)
            continue
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        for number, output in enumerate(outputs, 1):
            os.dup2(os.open(output, os.O_WRONLY | os.O_CREAT | os.O_APPEND), number)
        enter(folder, environment)
        sys.argv, sys.path[0] = ["-c", *arguments], ""
        end(lambda: exec(code, {"__name__": "__main__"}))
    print(json.dumps([os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]), flush=True)


def run_stage(client):
    if not (files := socket.recv_fds(client, 1, 3)[1]):
        return  # who asked was killed
    words, path, folder, environment = json.loads(client.makefile("rb", 0).readline())
    if not (child := os.fork()):
        for number, file in enumerate(files):
            os.dup2(file, number)
        os.closerange(3, max(client.fileno(), door.fileno(), *files) + 1)
        enter(folder, environment)
        sys.orig_argv, sys.argv, sys.path = words, words[2:], [folder, *path]
        end(lambda: runpy.run_module(words[2], run_name="__main__", alter_sys=True))
    for file in files:
        os.close(file)  # a pipe ends where the last who has it open does
    ended = os.pidfd_open(child)
    while ended not in select.select([client, ended], [], [])[0]:
        number = client.recv(1)  # of a signal to be passed on; nothing when who asked was killed
        os.kill(child, number[0] if number else signal.SIGKILL)
        if not number:
            return os.waitpid(child, 0)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    client.sendall(json.dumps(status).encode())


at_work = set()
while True:
    ready = select.select([sys.stdin, door], [], [])[0]
    at_work -= {pid for pid in at_work if os.waitpid(pid, os.WNOHANG)[0]}
    if door in ready:
        client, _ = door.accept()
        work = lambda: run_stage(client)
    elif line := sys.stdin.readline():
        work = lambda: run_code(*json.loads(line))
    else:
        break
    if pid := os.fork():
        at_work.add(pid)
        if door in ready:
            client.close()
    else:
        end(work)
"""


@cache
def server(modules: tuple[str, ...]) -> subprocess.Popen[str]:
    """The process that is forked, started when it is first needed."""
    places = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    settings = {"PYTHONPATH": str(PLAIN_INSTALL), "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    with socket.socket(socket.AF_UNIX) as door:
        door.bind(door_of(modules))
        door.listen()
        process = subprocess.Popen([sys.executable, "-c", SERVER, str(door.fileno()), *modules], env=places | settings,
                                   cwd=ROOT, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                   pass_fds=[door.fileno()])  # fmt: skip
    atexit.register(process.communicate)  # it ends where its input does
    return process


@cache
def door_of(modules: tuple[str, ...]) -> str:
    """A path for the socket of a server, short enough for one."""
    folder = tempfile.TemporaryDirectory(prefix="fork-")
    atexit.register(folder.cleanup)
    return f"{folder.name}/door"


def forked_stages() -> dict[str, str]:
    """Variables with which `python -m stages.NAME`, whoever starts it, is a fork that has loaded PyTorch already.

    It has the code, the arguments, the folder, the environment, the files and the signals of what was started.
    """
    server(LARGE)
    return {FORKED_STAGES: door_of(LARGE), "PYTHONPATH": str(PLAIN_INSTALL)}


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
