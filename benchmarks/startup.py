"""What each command costs until it has answered, in processor time of the whole process, beside another version.

    python -m benchmarks.startup [MODEL] [--before TREE] [--rounds N]

MODEL is an exported one, models/onnx by default; TREE a work tree of another version. Commands take turns with those of
the other version; bytecode is compiled before, as pip does. Of the commands that print their help the slowest is told.
A server counts until /health answers; a stage that finds nothing to read ends when its libraries are loaded. `dvc
repro` is asked where nothing is left to do, and left out elsewhere; beside it stands what DVC takes for a repository of
one stage, which is the least that it can take. Two minutes for seven rounds.
"""

import argparse
import compileall
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path
from statistics import median

import yaml

from benchmarks.harness import tables
from refrain.cli import main as commands

ROOT = Path(__file__).resolve().parent.parent
REFRAIN = ("-m", "refrain.cli.main")
STAGES = ("compose", "base", "prepare", "train", "merge", "export_onnx", "export_gguf", "evaluate")
COLUMNS = ["command", "CPU s", "wall s"]
QUESTION = "What is a watershed?"


def main() -> None:
    options = arguments()
    trees = [ROOT, *([options.before.resolve()] if options.before else [])]
    for tree in trees:
        for folder in ("refrain", "stages"):
            compileall.compile_dir(tree / folder, quiet=2)
    lines = [[*COLUMNS, *(f"{name} before" for name in COLUMNS[1:] if options.before)]]
    small = tempfile.TemporaryDirectory()
    make_repository(Path(small.name))
    for name, several in list_commands(options.model.resolve(), small.name).items():
        times = []
        for command in several:
            rounds = [[measure(command, tree, Path(small.name)) for tree in trees] for _ in range(options.rounds)]
            times.append(
                [median(each[tree][kind] for each in rounds) for tree in range(len(trees)) for kind in range(2)]
            )
        lines.append([name, *(f"{seconds:.3f}" for seconds in max(times))])
        print(tables.align([lines[0], lines[-1]]), file=sys.stderr, flush=True)
    small.cleanup()
    print(tables.to_markdown(lines))


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("model", nargs="?", type=Path, default=ROOT / "models/onnx")
    parser.add_argument("--before", type=Path, metavar="TREE")
    parser.add_argument("--rounds", type=int, default=7)
    return parser.parse_args()


def make_repository(folder: Path) -> None:
    """A repository of one stage, which has run, and the settings of a run of ours, with nothing to read."""
    (folder / "dvc.yaml").write_text("stages:\n  copy:\n    cmd: cp in out\n    deps: [in]\n    outs: [out]\n")
    (folder / "in").write_text("in\n")
    settings = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    settings["composed"] = None  # of no conf/ here
    (folder / "params.yaml").write_text(yaml.safe_dump(settings), encoding="utf-8")
    for command in (["git", "init", "-q"], ["dvc", "init", "-q"], ["dvc", "repro", "-q"]):
        subprocess.run(command, cwd=folder, check=True)


def list_commands(model: Path, small: str) -> dict[str, list[list[str]]]:
    """What is measured, by the name that a person types: one command, or several of a kind."""
    names = [commands.typed_name(name) for names in commands.GROUPS.values() for name in names]
    helps = [[sys.executable, *REFRAIN, name, "--help"] for name in names]
    stages = [[sys.executable, "-m", f"stages.{name}", "--help"] for name in STAGES]
    errors = ("train.lrr=3", "train.lr=fast")
    dvc = [shutil.which("dvc") or "dvc"]
    idle = subprocess.run([*dvc, "status", "-q"], cwd=ROOT, capture_output=True).returncode == 0
    return {
        "python, nothing": [[sys.executable, "-c", "pass"]],
        "refrain --help": [[sys.executable, *REFRAIN, "--help"]],
        f"refrain COMMAND --help, the slowest of {len(helps)}": helps,
        f"stages.STAGE --help, the slowest of {len(stages)}": stages,
        **{f"stages.train {error}": [[sys.executable, "-m", "stages.train", error]] for error in errors},
        "stages.merge, nothing to merge": [[sys.executable, "-m", "stages.merge", "--quiet"]],
        "refrain chat --prompt": [[sys.executable, *REFRAIN, "chat", "--model", str(model), "--prompt", QUESTION]],
        "refrain serve, ready": [[sys.executable, *REFRAIN, "serve", str(model), "--port"]],
        **({"dvc repro, nothing to do": [[*dvc, "repro"]]} if idle else {}),
        "dvc repro of a repository of one stage": [[*dvc, "--cd", small, "repro"]],
    }


def measure(command: list[str], tree: Path, small: Path) -> tuple[float, float]:
    """Seconds of processor and of wall clock that a command of a work tree takes."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    environment["PYTHONPATH"] = str(tree)
    place = {"repro": ROOT, "--quiet": small}.get(command[-1], tree)  # where the results are, and where none are
    is_server, address = command[-1] == "--port", ""
    if is_server:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            command = [*command, str(free.getsockname()[1])]
        address = f"http://127.0.0.1:{command[-1]}/health"
    begin, quiet = time.perf_counter(), subprocess.DEVNULL
    process = subprocess.Popen(command, cwd=place, env=environment, stdin=quiet, stdout=quiet, stderr=quiet)
    if is_server:
        wait_until_ready(process, address)
        seconds = time.perf_counter() - begin
        spent = processor_time(process.pid)
        process.terminate()
        process.wait()
        return spent, seconds
    _, _, used = os.wait4(process.pid, 0)
    process.returncode = 0  # it has been waited for
    return used.ru_utime + used.ru_stime, time.perf_counter() - begin


def wait_until_ready(process: subprocess.Popen[bytes], address: str) -> None:
    """Until a server answers; RuntimeError when it ends before."""
    while process.poll() is None:
        try:
            urllib.request.urlopen(address).close()
            return
        except (urllib.error.URLError, ConnectionError):
            time.sleep(0.005)
    raise RuntimeError("the server ended before it was ready; start it by hand to see why")


def processor_time(pid: int) -> float:
    """Seconds that a process has kept processors busy so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    main()
