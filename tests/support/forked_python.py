"""Python processes for the price of a fork: from one that has loaded the large libraries, and nothing that reads the
environment when it is imported. For what wants an environment or a start of its own; the real command is tested once.
"""

import atexit
import json
import subprocess
import sys
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from places import PLAIN_INSTALL, ROOT

LARGE = ("torch", "transformers.masking_utils", "transformers.modeling_utils", "transformers.models.llama", "peft")
SERVER = """
import importlib, json, os, sys, traceback

for name in sys.argv[1:]:
    importlib.import_module(name)
for line in sys.stdin:
    code, arguments, folder, environment, *outputs = json.loads(line)
    if not (child := os.fork()):
        for number, output in enumerate(outputs, 1):
            os.dup2(os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
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
        except BaseException:
            traceback.print_exc()
        sys.stdout.flush()
        os._exit(status)  # for the end of a Python would touch all that it shares with its parent
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


@cache
def server() -> subprocess.Popen[str]:
    """The process that is forked, started when it is first needed."""
    settings = {"PYTHONPATH": str(PLAIN_INSTALL), "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen([sys.executable, "-c", SERVER, *LARGE], env=settings, cwd=ROOT, text=True,
                               stdin=subprocess.PIPE, stdout=subprocess.PIPE)  # fmt: skip
    atexit.register(process.communicate)  # it ends where its input does
    return process


def run(
    code: str, *arguments: str, outputs: Path, folder: Path = ROOT, environment: Mapping[str, str]
) -> subprocess.CompletedProcess[str]:
    """What `python -c CODE ARGUMENTS` does in a folder and an environment; it speaks through files in `outputs`."""
    files = [outputs / "stdout.txt", outputs / "stderr.txt"]
    asked = [code, arguments, str(folder), dict(environment), *map(str, files)]
    server().stdin.write(json.dumps(asked) + "\n")
    server().stdin.flush()
    returncode = int(server().stdout.readline())
    return subprocess.CompletedProcess(code, returncode, *(file.read_text() for file in files))
