"""A workbench: a scratch copy of the repository with its own Git history and DVC cache, to run whole commands in."""

import csv
import fcntl
import json
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import forked_python
import yaml
from omegaconf import OmegaConf
from places import PLAIN_INSTALL, ROOT

RESULTS = ("dvc.lock", "params.yaml", "reports")  # what runs of the workspace left behind
WORDS = ["amber", "basin", "cedar", "delta", "ember", "frost", "grove", "heron", "inlet", "kelp", "otter", "reed"]
TINY = {"vocabulary": 320, "layers": 1, "width": 32, "heads": 2, "kv_heads": 1, "feed_forward": 64, "epochs": 1}


def copy(out: Path, *places: str) -> Path:
    """The files of the workspace, committed or about to be, in `out`; only those under `places`, if any are named."""
    listed = run(ROOT, "git", "ls-files", "-co", "--exclude-standard", "-z", "--", *places).split("\0")
    for name in filter(None, listed):
        if Path(name).parts[0] not in RESULTS and (ROOT / name).is_file():
            (out / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, out / name)
    return out


def repository(out: Path) -> Path:
    """A copy of the workspace as a Git and DVC repository of its own, with everything committed, and compiled once."""
    copy(out)
    checked = ("--invalidation-mode", "checked-hash")  # so that no bytecode outlives an edit
    run(out, sys.executable, "-m", "compileall", "-q", *checked, "refrain", "stages")
    init_git(out)
    commit(out)
    return out


def finished(place: Path) -> Path:
    """A small repository in `place` whose pipeline has run and is committed, made by whoever comes first.

    Its training takes some hundred small steps: enough to be killed often, and there is more to learn after them.
    """
    folder, said = place / "finished/repository", place / "finished/said.txt"
    with (place / "finished.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not said.exists():
            repository(folder)
            small(folder)
            edit(folder / "conf/config.yaml", {"train.epochs": 15, "train.batch_size": 1})
            edit(folder / "conf/method/lora.yaml", {"train.lr": 2e-5})
            output = dvc(folder, "repro")
            commit(folder)
            said.write_text(output)
    return folder


def init_git(folder: Path) -> None:
    """An empty repository in a folder, with an author of its own."""
    run(folder, "git", "init", "-q", "-b", "main")
    run(folder, "git", "config", "user.name", "A Tester")
    run(folder, "git", "config", "user.email", "tester@example.org")


def commit(folder: Path) -> None:
    """All of the folder as it is now."""
    run(folder, "git", "add", "-A")
    run(folder, "git", "commit", "-qm", "All of it")


def commit_run(folder: Path, stages: dict[str, Any]) -> None:
    """A repository of what is in a folder, with a dvc.lock that lists these stages."""
    (folder / "dvc.lock").write_text(yaml.safe_dump({"schema": "2.0", "stages": stages}))
    init_git(folder)
    commit(folder)


def enter_copy(folder: Path, place: Path, monkeypatch: Any) -> Path:
    """Work in a copy of a repository, which is no part of a run of DVC."""
    copied = shutil.copytree(folder, place / "repository")
    monkeypatch.chdir(copied)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    return copied


def restore(folder: Path) -> None:
    """What Git knows as it was committed, and nothing beside it but what Git ignores."""
    run(folder, "git", "reset", "-q", "--hard")
    run(folder, "git", "clean", "-qfd")


def small(folder: Path) -> None:
    """Make the smallest real configuration the default: every stage does its work in seconds."""
    rng = random.Random(0)
    rows = [(f"Why {' '.join(rng.sample(WORDS, 5))}?", " ".join(rng.sample(WORDS, 3))) for _ in range(40)]
    raw = folder / "data/raw"
    with (raw / "small.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("question", "answer"), *rows[:10]])
    rows_file(raw / "small.jsonl", rows[10:34])
    rows_file(raw / "small-test.jsonl", rows[34:])
    (raw / "small.txt").write_text("".join(f"{question} {answer}\n" for question, answer in rows))
    conf = folder / "conf"
    sources = [{"path": "small.csv"}, {"path": "small.jsonl"}, {"path": "small-test.jsonl", "split": "test"}]
    data = {"name": "small", "folder": "data/raw", "sources": sources, "val_fraction": 0.1, "test_fraction": 0.0}
    preset(conf / "data/small.yaml", "files", data)
    preset(conf / "model/small.yaml", "tiny", {"name": "small", "tiny": {**TINY, "corpus": "data/raw/small.txt"}})
    thresholds = {"int8": {"top1": 0.0, "rouge": None}, "int4": {"relative_logits": 1e-9, "top1": 0.0, "rouge": None}}
    variants = {name: {"fallbacks": [], "thresholds": each} for name, each in thresholds.items()}  # int4 misses its own
    preset(conf / "export/small.yaml", "cpu", {"name": "small", "prompts": 2, "steps": 4, "variants": variants})
    for group in ("data", "model", "export"):
        text = (conf / "config.yaml").read_text()
        (conf / "config.yaml").write_text(re.sub(f"- {group}: .*", f"- {group}: small", text))
    edit(conf / "config.yaml", {"train.epochs": 1, "merge.prompts": 2})
    edit(conf / "config.yaml", {"evaluate.max_rows": 4, "evaluate.max_new_tokens": 8})


def preset(file: Path, base: str, values: dict[str, Any]) -> None:
    """An option of conf/ that is another one but for some values."""
    file.write_text(OmegaConf.to_yaml({"defaults": [base], **values}))


def rows_file(file: Path, rows: list[tuple[str, str]]) -> None:
    """Questions and answers as JSON lines."""
    file.write_text("".join(json.dumps({"question": q, "answer": a}) + "\n" for q, a in rows))


def edit(file: Path, values: dict[str, Any]) -> None:
    """Set dotted keys of a YAML file; the comments on top stay, for Hydra reads them."""
    lines = file.read_text().splitlines(keepends=True)
    header = [line for line in lines if line.startswith("#")]
    node = OmegaConf.create("".join(lines))
    for key, value in values.items():
        OmegaConf.update(node, key, value, merge=False)
    file.write_text("".join(header) + OmegaConf.to_yaml(node))


def rewrite(file: Path, old: str, new: str) -> None:
    """Replace a text that must be there."""
    text = file.read_text()
    assert old in text, f"{file} does not hold {old!r}"
    file.write_text(text.replace(old, new))


def append(file: Path, text: str) -> None:
    with file.open("a") as end:
        end.write(text)


def run(folder: Path, *command: str, fails: bool = False, **environment: str) -> str:
    """All that a finished command printed; it must have succeeded, or not if it `fails`."""
    with tempfile.TemporaryFile("w+") as said:  # a pipe would stay open as long as a worker that `dvc` has started
        settings = {"cwd": folder, "env": surroundings(folder) | environment, "stdout": said, "stderr": said}
        try:
            code = subprocess.run(command, **settings, timeout=forked_python.PATIENCE).returncode
        except subprocess.TimeoutExpired as error:
            code = str(error)
        said.seek(0)
        output = said.read()
    assert isinstance(code, int) and bool(code) == fails, f"{' '.join(command)}: exit {code}\n{output}"
    return output


def run_forked(folder: Path, script: str, *arguments: str, fails: bool = False, **environment: str) -> str:
    """The same of a Python script that DVC runs in, which takes longer to load than to do most things."""
    with tempfile.NamedTemporaryFile("r") as said:
        process = [surroundings(folder) | environment, said.name, said.name]
        [code] = forked_python.fork(forked_python.DVC, script, arguments, folder, process)
        output = said.read()
    assert bool(code) == fails, f"{' '.join(arguments)}: exit {code}\n{output}"
    return output


def dvc(folder: Path, *arguments: str, **settings: Any) -> str:
    """What `dvc` said; the stages that it runs are forked, too."""
    if arguments[0] in ("repro", "exp", "queue"):
        settings = forked_python.forked_stages() | settings
    return run_forked(folder, "import sys, dvc.cli; sys.exit(dvc.cli.main(sys.argv[1:]))", *arguments, **settings)


def compose(folder: Path, *overrides: str, **settings: Any) -> str:
    """What the compose stage said."""
    script = "import runpy; runpy.run_module('stages.compose', run_name='__main__', alter_sys=True)"
    return run_forked(folder, script, *overrides, **settings)


def stage(folder: Path, name: str, *arguments: str, **settings: Any) -> str:
    """What a stage said, run as dvc.yaml runs it, but with this Python."""
    return run(folder, sys.executable, "-m", f"stages.{name}", *arguments, **settings)


def surroundings(folder: Path) -> dict[str, str]:
    """The environment of a person in `folder`: this Python first, DVC without a network or traces elsewhere."""
    ours = {name: value for name, value in os.environ.items() if not name.startswith(("DVC_", "GIT_"))}
    settings = folder.parent / "dvc-settings"
    settings.mkdir(exist_ok=True)
    (settings / "config").write_text("[core]\n    analytics = false\n    check_update = false\n")
    return ours | {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "DVC_NO_ANALYTICS": "1",
        "DVC_GLOBAL_CONFIG_DIR": str(settings),
        "DVC_SITE_CACHE_DIR": str(folder.parent / "dvc-site"),
        "OMP_NUM_THREADS": "1",  # a model this small gains nothing from threads that wait for each other
        "PYTHONDONTWRITEBYTECODE": "1",  # an edit within the second of the last run must not meet stale bytecode
        "PYTHONPATH": str(PLAIN_INSTALL),
    }


def wait(until: Callable[[], bool], seconds: float = 600) -> None:
    """Return when the claim holds; AssertionError when it still does not after that long."""
    deadline = time.monotonic() + seconds
    while not until():
        assert time.monotonic() < deadline, f"still waiting after {seconds} seconds"
        time.sleep(0.2)


def wait_for_queue(folder: Path, name: str, count: int) -> None:
    """Until so many experiments of the queue have succeeded; Git is asked first, for that costs less than DVC."""
    wait(lambda: run(folder, "git", "for-each-ref", "refs/exps").count(f"/{name}-") == count)
    wait(lambda: dvc(folder, "queue", "status").count("Success") == count)
