"""Where an artifact comes from, for the terminal: what it was made of, with what, and the commits that recorded it."""

import json
from pathlib import Path
from typing import Any

from refrain.experiments.text_tables import text_table
from refrain.pipeline import git, manifest, paths
from refrain.pipeline.plurals import format_count

MOST_NAMES = 3  # of files of rows, on one line


def lineage_report(folder: Path) -> str:
    """Aligned facts about an artifact folder; without a Git repository around, no commits are named."""
    facts_of, md5 = manifest.read_manifest(folder), manifest.dvc_md5(folder)
    facts = {
        "folder": str(folder),
        "md5": md5,
        **({"base": describe_base(facts_of["base"])} if "base" in facts_of else {}),
        **facts_of.get("made_of", {}),
        "best": f"{facts_of['best']}, sha256 {manifest.content_hash(folder / paths.BEST)}",
        **({"cpu": facts_of["cpu"]} if "cpu" in facts_of else {}),
        **facts_of.get("versions", {}),
    }
    return text_table([*facts.items(), *(("commit", line) for line in recording_commits(md5))])


def describe_base(base: dict[str, Any]) -> str:
    """The origin of a base model on one line, without the hashes of its files."""
    match base:
        case {"hub": hub, "revision": revision}:
            return f"{hub}@{revision} of the Hub"
        case {"folder": folder}:
            return f"a folder, {folder}"
        case {"tiny": {"corpus": corpus, "layers": layers, "width": width}}:
            return f"tiny, {format_count(layers, 'layer')}, {width} wide, pretrained on {corpus}"
    return ", ".join(f"{key} {value}" for key, value in base.items() if key != "files" and not isinstance(value, dict))


def recording_commits(md5: str) -> list[str]:
    """The commits whose dvc.lock names what has this md5, newest first: HEAD, and all that have changed it.

    One sentence if a repository knows none.
    """
    history = git.run_git("log", "--all", "--format=%H", "--", "dvc.lock").split()
    if not history:
        return []
    commits = dict.fromkeys([git.commit_of("HEAD"), *history])
    holding = git.run_git("grep", "-l", "-F", md5, *commits, "--", "dvc.lock").splitlines()
    recorded = [line.partition(":")[0] for line in holding]
    if not recorded:
        return ["none of this repository recorded these files"]
    decoration = [f"--decorate-refs={refs}" for refs in ("HEAD", "refs/heads", "refs/tags")]
    return git.run_git("log", "--no-walk", *decoration, "--format=%h %cs %s%d", *recorded).splitlines()


def describe_origin(folder: Path) -> str:
    """A variant on one line, as quickly as its manifest is read: base, data and commit, as far as they are known."""
    try:
        facts = manifest.read_manifest(folder.parent)
    except ValueError:  # a variant alone, or a graph of elsewhere
        return str(folder)
    is_best = folder.name == paths.BEST
    parts = [f"{folder} is {facts['best']}" if is_best and "best" in facts else str(folder)]
    parts += [f"of {describe_base(facts['base'])}"] if "base" in facts else []
    recorded = facts.get("made_of", {})
    commit = find_commit(recorded.get(str(paths.MERGED), ""))
    data = find_data(recorded.get(str(paths.PREPARED), ""), commit)
    parts += [f"trained on {data}"] if data else []
    if git.commit_of("HEAD"):
        parts.append(f"commit {git.run_git('log', '-1', '--format=%h of %cs', commit)}" if commit else "not committed")
    return ", ".join(parts)


def find_commit(md5: str) -> str:
    """HEAD where its dvc.lock names what has this md5, else the newest commit that recorded it; empty for none."""
    if not md5:
        return ""
    if git.run_git("grep", "-l", "-F", md5, "HEAD", "--", "dvc.lock"):
        return git.commit_of("HEAD")
    changes = git.run_git("log", "--all", "--format=%H", f"-S{md5}", "--", "dvc.lock").split()  # to it, or away from it
    holding = git.run_git("grep", "-l", "-F", md5, *changes, "--", "dvc.lock") if changes else ""
    return holding.partition(":")[0]


def find_data(md5: str, commit: str) -> str:
    """The files and the number of rows of prepared data, from the report of the run that made it; empty if unknown."""
    lock, report = Path("dvc.lock"), paths.DATA_REPORT
    if md5 and lock.is_file() and report.is_file() and md5 in lock.read_text(encoding="utf-8"):
        text = report.read_text(encoding="utf-8")
    else:
        text = git.run_git("show", f"{commit}:./{report}") if commit else ""
    try:
        facts = json.loads(text or "{}")
        names = [name.partition("-")[2] for name in facts["sources"]]
        rows = format_count(facts["train"], "row")
    except (ValueError, KeyError, TypeError):
        return ""
    more = f" and {len(names) - MOST_NAMES} more" if len(names) > MOST_NAMES else ""
    return f"{', '.join(names[:MOST_NAMES])}{more} ({rows})"
