"""A repository that DVC cannot copy is said to be one before it tries."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from refrain.experiments.hydra_plugins import repository_path

QUEUE = ["dvc", "exp", "run", "--queue"]


def dvc(folder, *arguments):
    return subprocess.run([sys.executable, "-m", "dvc", *arguments], cwd=folder, capture_output=True, text=True)


@pytest.fixture
def repository(tmp_path):
    """One in a folder with an umlaut: the hook where .dvc/config says it is, and a stage that takes a moment."""
    root = tmp_path / "ü" / "r"
    plugin = Path(repository_path.__file__).relative_to(Path.cwd())
    for path in (Path(".dvc/config"), plugin):
        (root / path.parent).mkdir(parents=True)
        shutil.copy(path, root / path)
    (root / "conf").mkdir()
    (root / "conf/config.yaml").write_text("a: 1\n")
    (root / "params.yaml").write_text("a: 1\n")
    (root / "dvc.yaml").write_text("stages:\n  s: {cmd: cp params.yaml out, params: [a], outs: [out]}\n")
    (root / ".gitignore").write_text("/out\n/.dvc/cache\n/.dvc/tmp\n/.dvc/config.local\n__pycache__\n")
    for command in ("init -q", "add -A", "-c user.name=a -c user.email=a@example.org commit -qm a"):
        subprocess.run(["git", *command.split()], cwd=root, check=True)
    return root


def test_a_folder_of_plain_letters_is_left_alone(tmp_path):
    assert repository_path.find_problem([*QUEUE, "-S", "a=#ü"], tmp_path / "a b") is None
    assert repository_path.find_problem(["dvc", "exp", "run"], tmp_path / "ü#") is None
    assert "move it" in repository_path.find_problem([*QUEUE[:3], "--temp"], tmp_path / "c#")


@pytest.mark.heavy
def test_letters_beyond_ascii_are_refused_in_a_sentence_whose_way_out_is_right(repository, tmp_path):
    refused = dvc(repository, "exp", "run", "--temp", "-S", "a=2")
    assert refused.returncode == 1
    assert "codec" not in refused.stderr
    assert "dvc cache dir --local /some/plain/folder" in refused.stderr.splitlines()[-1]
    assert (repository / "params.yaml").read_text() == "a: 1\n"
    assert dvc(repository, "cache", "dir", "--local", str(tmp_path / "cache")).returncode == 0
    finished = dvc(repository, "exp", "run", "--temp", "-S", "a=2")
    assert finished.returncode == 0, finished.stderr
