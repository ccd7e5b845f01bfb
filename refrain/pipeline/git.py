"""What Git knows of the workspace."""

from refrain.pipeline import paths


def resolve_commit(name: str) -> str:
    """The full commit that a name stands for; ValueError when it stands for none."""
    if commit := commit_of(name):
        return commit
    raise ValueError(f"{name}: this repository has no such commit or tag; `git log --oneline` lists them, "
                     "`git fetch --tags` brings those of others")  # fmt: skip


def resolve_start(start: str) -> str:
    """The commit that a training goes on from; ValueError where its name will mean another one later."""
    try:
        commit = resolve_commit(start)
    except ValueError as error:
        raise ValueError(f"method.init_adapter={error}") from None
    if not (run_git("show-ref", "--verify", f"refs/tags/{start}") or commit.startswith(start)):
        raise ValueError(
            f"method.init_adapter={start} moves on; write the commit that it is now: method.init_adapter={commit}"
        )
    return commit


def commit_of(name: str) -> str:
    """The full commit of a name, empty when there is none."""
    return run_git("rev-parse", "--verify", "--quiet", f"{name}^{{commit}}")


def run_git(*arguments: str) -> str:
    """What Git prints; nothing when it fails or there is no repository."""
    import subprocess  # a stage that starts loads this module, and asks Git for nothing

    command = ["git", "-C", str(paths.workspace()), *arguments]
    return subprocess.run(command, capture_output=True, encoding="utf-8").stdout.rstrip("\n")
