"""What Git knows of the workspace."""

import subprocess

from refrain.pipeline import paths


def resolve_commit(name: str) -> str:
    """The full commit that a name stands for; ValueError when it stands for none."""
    if commit := commit_of(name):
        return commit
    raise ValueError(f"{name}: this repository has no such commit or tag; `git log --oneline` lists them, "
                     "`git fetch --tags` brings those of others")  # fmt: skip


def commit_of(name: str) -> str:
    """The full commit of a name, empty when there is none."""
    return run_git("rev-parse", "--verify", "--quiet", f"{name}^{{commit}}")


def run_git(*arguments: str) -> str:
    """What Git prints; nothing when it fails or there is no repository."""
    command = ["git", "-C", str(paths.workspace()), *arguments]
    return subprocess.run(command, capture_output=True, encoding="utf-8").stdout.rstrip("\n")
