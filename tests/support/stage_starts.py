"""Many starts of a stage for the price of one: each a process of its own, forked where the imports of all are done."""

import json
import sys
from pathlib import Path
from typing import NamedTuple

import pipeline_repository
from places import ROOT

SERVER = """
import importlib, json, os, runpy, sys, time
from refrain.pipeline import params

name, starts, folder = sys.argv[1], json.loads(sys.argv[2]), sys.argv[3]
importlib.import_module(f"stages.{name}")
del sys.modules[f"stages.{name}"]  # run again in each child, as the main module
params.load([])
before, answers = time.process_time(), []
for number, arguments in enumerate(starts):
    with open(f"{folder}/{number}", "w+") as output:
        if not (child := os.fork()):
            os.dup2(output.fileno(), 1)
            os.dup2(output.fileno(), 2)
            sys.argv = [name, *arguments]
            runpy.run_module(f"stages.{name}", run_name="__main__", alter_sys=True)
            sys.exit()
        _, status, used = os.wait4(child, 0)
        output.seek(0)
        answers.append((output.read(), os.waitstatus_to_exitcode(status), before + used.ru_utime + used.ru_stime))
print(json.dumps(answers))
"""


class Answer(NamedTuple):
    said: str
    code: int
    seconds: float  # for which it kept a processor busy, imports included


def answers(folder: Path, outputs: Path, name: str, starts: list[list[str]]) -> list[Answer]:
    """What `python -m stages.NAME` says in `folder` to each of these lists of arguments."""
    command = [sys.executable, "-c", SERVER, name, json.dumps(starts), str(outputs)]
    return [Answer(*each) for each in json.loads(pipeline_repository.run(folder, *command, PYTHONPATH=str(ROOT)))]
