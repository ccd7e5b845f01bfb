"""What a stage that failed has left as it was, and what to type to go on, or to go back to the run before."""

import os
from pathlib import Path

from refrain.pipeline import dvc_files, git, paths

TITLES = ("intact:", "go on:", "go back:")
RIGHT = "when that is put right"
UNTOUCHED = f"params.yaml and all results are as they were; {RIGHT}, type the same again"
UNDO = "undo your edit (or leave out -S), then `dvc repro`: it takes from DVC's cache what is there"


def recovery_lines(stage: str, has_begun: bool, is_interrupted: bool) -> list[str]:
    """Three lines, true of where the stage ran: in a temporary copy, under DVC in the workspace, or by hand."""
    ways: tuple[str, str, str] | None
    if paths.is_copy():
        ways = ways_of_copy()
    elif "DVC_STAGE" in os.environ:
        ways = ways_of_workspace(stage)
    else:
        ways = ways_by_hand(stage) if has_begun else None
    untouched = [] if has_begun else [UNTOUCHED]
    lines = [f"{title:<8} {text}" for title, text in zip(TITLES, ways, strict=True)] if ways else untouched
    return [line.replace(f"{RIGHT}, ", "") for line in lines] if is_interrupted else lines


def ways_of_copy() -> tuple[str, str, str]:
    """DVC deletes the copy; what it has in common with the workspace is the cache."""
    again = "the same `dvc exp run --temp` once more"
    if Path.cwd().parent.name != "standalone":
        again = f"`dvc queue remove {paths.run_name()}`, then the same `dvc exp run --queue` once more"
    return (
        "the workspace, and in DVC's cache what the stages before this one made",
        f"{RIGHT}, {again}: stages that have finished are not run again",
        "there is nothing to undo, for it ran in a temporary copy, which DVC deletes",
    )


def ways_of_workspace(stage: str) -> tuple[str, str, str]:
    """DVC removed the outputs of the stage before it ran; those of the stages before it are new, and recorded."""
    made, dependencies = dvc_files.cached_outputs(), dvc_files.list_stages().get(stage, {}).get("deps", [])
    inputs = [path for path in dependencies if path in made and Path(path).exists()]
    again = "the same `dvc exp run` once more" if "DVC_EXP_NAME" in os.environ else "`dvc repro`"
    return (
        ", ".join([*inputs, "and in DVC's cache what earlier runs made"]).removeprefix("and "),
        f"{RIGHT}, {again}: stages that have finished are not run again",
        way_back(stage),
    )


def ways_by_hand(stage: str) -> tuple[str, str, str] | None:
    """Nothing but the outputs of the stage was touched; None where no dvc.yaml names them."""
    outputs, recorded = dvc_files.list_outputs(dvc_files.list_stages().get(stage, {})), dvc_files.current_lock()
    if not outputs:
        return None
    back = f"there is no earlier run of {stage}"
    if stage in recorded:
        cached = [path for path, is_cached in outputs.items() if is_cached]
        lock = {stage: recorded[stage]}
        back = fetch_commands(lock, [path for path in outputs if path not in cached], cached)
        back = f"{back} brings back what dvc.lock names" if back else "DVC's cache lacks them: `dvc repro` makes them"
    return f"all but {', '.join(outputs)}", f"{RIGHT}, type the same again, or `dvc repro`", back


def way_back(stage: str) -> str:
    """How to get the last run again: from Git and the cache if it was committed, else by undoing what was edited."""
    committed, recorded = dvc_files.committed_lock(), dvc_files.current_lock()
    if stage not in recorded:
        return f"there is no earlier run of {stage}"
    if committed.get(stage) != recorded[stage]:
        return f"the run before this one was not committed: {UNDO}"
    run = f"the run of commit {git.run_git('rev-parse', '--short', 'HEAD')}"
    of_git = [str(dvc_files.LOCK), *dvc_files.uncached_outputs()]
    if commands := fetch_commands(committed, of_git):
        return f"{commands} brings back {run}; files of yours that you edited stay edited"
    return f"{run} is not in DVC's cache: {UNDO}"


def fetch_commands(lock: dvc_files.Lock, of_git: list[str], of_dvc: list[str] | None = None) -> str:
    """What brings files back from Git and outputs, or all of them, from DVC's cache or a remote; "" if nothing can."""
    from refrain.pipeline import revisions  # loads dvc, which takes a second

    cached, hashes = set(dvc_files.cached_outputs()), dvc_files.output_hashes(lock)
    tracked = git.run_git("ls-tree", "-r", "--name-only", "HEAD", "--", *of_git).splitlines() if of_git else []
    commands = [f"git checkout HEAD -- {' '.join(tracked)}"] if tracked else []
    if md5s := [md5 for path, md5 in hashes.items() if path in (of_dvc or cached)]:
        is_here = revisions.are_cached(md5s)
        if not is_here and not revisions.has_remote():
            return ""
        commands.append(" ".join(["dvc", "checkout" if is_here else "pull", "--force", *(of_dvc or [])]))
    return f"`{' && '.join(commands)}`" if commands else ""
