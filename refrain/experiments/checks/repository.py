"""Git and DVC: whether what a run records can be recorded, kept and shared."""

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from refrain.experiments.checks import remote
from refrain.experiments.checks.finding import Finding
from refrain.models.pretrained.resources import format_bytes
from refrain.pipeline import git, paths
from refrain.pipeline.dvc_files import Lock, output_hashes, parse_stages
from refrain.pipeline.plurals import format_count

LOCK = Path("dvc.lock")


def check_git() -> Iterator[Finding]:
    """Whether Git can record a run here."""
    if not shutil.which("git"):
        yield Finding("git", "stop", "there is no `git` on the PATH", "install it: DVC keeps its records in it")
        return
    version = git.run_git("--version").removeprefix("git version ")
    if not git.run_git("rev-parse", "--git-dir"):
        advice = "`git init && git add -A && git commit -m Start`, or go to a clone"
        yield Finding("git", "stop", f"{version}; this folder is in no repository", advice)
    elif not git.commit_of("HEAD"):
        yield Finding("git", "stop", f"{version}; there is no commit yet", "`git add -A && git commit -m Start`")
    elif not (git.run_git("config", "user.name") and git.run_git("config", "user.email")):
        advice = "`git config --global user.name NAME` and `git config --global user.email ADDRESS`"
        yield Finding("git", "note", f"{version}; it does not know who commits", advice)
    else:
        changes = len(git.run_git("status", "--porcelain").splitlines())
        branch = git.run_git("rev-parse", "--abbrev-ref", "HEAD")
        where = "a detached HEAD" if branch == "HEAD" else branch
        text = f"{version}, {where} at {git.run_git('rev-parse', '--short', 'HEAD')}"
        yield Finding(
            "git",
            "ok",
            f"{text}, {format_count(changes, 'change')} not committed" if changes else f"{text}, all committed",
        )


def check_dvc(asks_remote: bool) -> Iterator[Finding]:
    """The repository of DVC, its cache, its remote; with `asks_remote` one that is reached over a network, too."""
    import dvc
    from dvc.config import Config, ConfigError

    folder = Path(".dvc")
    if not folder.is_dir():
        yield Finding("dvc", "stop", f"{dvc.__version__}; there is no folder .dvc here", "`dvc init`, or go to a clone")
        return
    try:
        config: dict[str, Any] = dict(Config(str(folder.absolute())))
    except ConfigError as error:
        advice = "correct .dvc/config or .dvc/config.local"
        yield Finding("dvc", "stop", f"{dvc.__version__}; {' '.join(str(error).split())}", advice)
        return
    has_command = shutil.which("dvc") is not None
    yield Finding("dvc", "ok" if has_command else "note", dvc.__version__ + ("" if has_command else
                  "; there is no `dvc` on the PATH"), "`source .venv/bin/activate`, where it is installed")  # fmt: skip
    cache = cache_folder(config)
    yield check_cache(cache)
    has_remote = bool(config.get("remote"))
    if LOCK.is_file():
        yield check_lock(cache, has_remote)
    yield from remote.check_remotes(config, asks_remote)


def cache_folder(config: dict[str, Any]) -> Path:
    """Where DVC keeps what it has made; a relative path in its configuration begins in .dvc."""
    return Path(".dvc", config.get("cache", {}).get("dir") or "cache").absolute()


def check_lock(cache: Path, has_remote: bool) -> Finding:
    """What dvc.lock lists, if it can be read."""
    try:
        lock = parse_stages(LOCK.read_text(encoding="utf-8"))
    except Exception as error:  # YAML, or the marks of a merge in it
        reason = " ".join(str(error).split())[:80]
        return Finding("outputs", "stop", f"dvc.lock cannot be read: {reason}", "`git checkout HEAD dvc.lock`")
    return check_outputs(cache, lock, has_remote)


def check_cache(cache: Path) -> Finding:
    """Whether DVC can write into its cache."""
    place = next(folder for folder in (cache, *cache.parents) if folder.exists())
    if not os.access(place, os.W_OK):
        advice = "`dvc cache dir FOLDER --local` takes another one, or let its owner grant it"
        return Finding("cache", "stop", f"{cache} cannot be written", advice)
    free = format_bytes(shutil.disk_usage(place).free)
    return Finding("cache", "ok", f"{cache}, {free} free" + ("" if cache.is_dir() else ", not there yet"))


def check_outputs(cache: Path, lock: Lock, has_remote: bool) -> Finding:
    """Whether all that dvc.lock lists is in the cache; what is not cannot be pushed, and would be made anew."""
    uncached = {str(path) for path in (paths.PARAMS, paths.LINKED_DATA, paths.LINKED_MODEL)}
    outs = {path: md5 for path, md5 in output_hashes(lock).items() if path not in uncached and not is_tracked(path)}
    missing = [path for path, md5 in outs.items() if not is_cached(cache, md5)]
    if not missing:
        return Finding("outputs", "ok", f"{len(outs)} of dvc.lock, all in the cache")
    text = f"{len(missing)} of {len(outs)} in dvc.lock are not in the cache: {', '.join(missing[:3])}"
    text += f" and {len(missing) - 3} more" if len(missing) > 3 else ""
    if all(map(os.path.exists, missing)):
        advice = "they are in the workspace: `dvc commit` puts them back, `dvc repro` would make them anew"
        return Finding("outputs", "note", text, advice)
    return Finding(
        "outputs", "note", text, f"{'`dvc pull` fetches them, ' if has_remote else ''}`dvc repro` makes them"
    )


def is_tracked(path: str) -> bool:
    """Whether Git keeps an output, as it does with small reports."""
    return bool(git.run_git("ls-files", "--", path))


def is_cached(cache: Path, md5: str) -> bool:
    """Whether a file, or a folder with all its files, is in a cache."""
    place = object_path(cache, md5)
    if not place.is_file():
        return False
    try:
        rows = json.loads(place.read_text(encoding="utf-8")) if md5.endswith(".dir") else []
    except ValueError:
        return False
    return all(object_path(cache, row["md5"]).is_file() for row in rows)


def object_path(cache: Path, md5: str) -> Path:
    return cache / "files/md5" / md5[:2] / md5[2:]
