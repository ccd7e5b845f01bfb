"""Says, before DVC copies the repository, where it could not: `dvc exp run` loads this through hydra.plugins_path.

DVC writes the place of its cache into the copy in ASCII, and names the copy by a URL: a letter beyond ASCII ends in an
error about a codec, `#` and `?` in one about a repository that is not there.
"""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

COPYING_OPTIONS = {"--temp", "--queue"}


def find_problem(arguments: Sequence[str], root: Path) -> str | None:
    """Why DVC could not copy this repository, and the way out; None where it can, or is not asked to."""
    if not COPYING_OPTIONS.intersection(arguments):
        return None
    where = f"{root}: dvc exp run --temp and --queue copy the repository"
    if any(sign in str(root) for sign in "#?"):
        return f"{where}, which DVC cannot where # or ? is in the path; move it, or leave out --temp and --queue"
    if not str(root).isascii() and not cache_folder(root).isascii():
        return (f"{where}, which DVC cannot where its cache has letters beyond ASCII in the path; give it a plain "
                "one: dvc cache dir --local /some/plain/folder")  # fmt: skip
    return None


def cache_folder(root: Path) -> str:
    """Where DVC keeps what it has stored."""
    command = [sys.executable, "-m", "dvc", "cache", "dir"]
    return subprocess.run(command, cwd=root, check=True, capture_output=True, text=True).stdout.strip()


if problem := find_problem(sys.argv, Path(__file__).resolve().parents[3]):
    raise SystemExit(problem)
