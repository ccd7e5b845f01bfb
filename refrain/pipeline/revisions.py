"""What an earlier commit recorded: its dvc.lock, and the files that DVC keeps for it in the cache or on the remote."""

import json
import shutil
import tempfile
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from refrain.pipeline import manifest, paths
from refrain.pipeline.dvc_files import Lock, output_hashes, parse_stages
from refrain.pipeline.git import resolve_commit, resolve_start, run_git

if TYPE_CHECKING:
    from dvc.repo import Repo


def fetch_start_adapter(start: str | None, out: Path) -> Path | None:
    """`out` with the adapter that a training goes on from; None when it begins afresh."""
    if start is None:
        return None
    fetch_adapter(start, out)
    return out


def fetch_adapter(start: str, out: Path) -> None:
    """Put the adapter of an earlier commit or tag into `out`; ValueError unless it fits models/base."""
    commit = resolve_start(start)
    recorded = output_hashes(read_lock(commit))
    if recorded.get(str(paths.BASE)) != manifest.dvc_md5(paths.BASE):
        raise ValueError(f"method.init_adapter={start}: its adapter was trained on another {paths.BASE} than this one; "
                         "start from a commit with this base, or choose the model of that commit")  # fmt: skip
    fetch_output(commit, str(paths.ADAPTER), out)
    if not (out / "adapter_config.json").is_file():
        shutil.rmtree(out)
        raise ValueError(f"method.init_adapter={start}: what it trained is no adapter but all weights; "
                         "name a commit whose method has one")  # fmt: skip


def read_lock(rev: str) -> Lock:
    """The stages that the dvc.lock of a commit lists; ValueError when it has none."""
    text = run_git("show", f"{resolve_commit(rev)}:./dvc.lock")
    if not text:
        raise ValueError(f"{rev}: this commit has no dvc.lock, so nothing was run in it; name one that has")
    return parse_stages(text)


def read_git_file(rev: str, path: str) -> str:
    """A file that Git keeps, as it was; empty when there was none."""
    return run_git("show", f"{resolve_commit(rev)}:./{path}")


def fetch_output(rev: str, path: str, out: Path) -> None:
    """Put a file or folder as a commit recorded it in place of `out`: from the cache, else from the remote."""
    from dvc.api import DVCFileSystem  # as long to load as a stage takes to start

    commit = resolve_commit(rev)
    expected = output_hashes(read_lock(commit)).get(path)
    with tempfile.TemporaryDirectory() as scratch:
        copy = Path(scratch, "part")
        try:
            with closing(DVCFileSystem(str(paths.workspace()), rev=commit, config=current_storage())) as files:
                files.get(path, str(copy), recursive=True)
        except Exception as error:  # a remote fails in ways of its own
            reason = " ".join(str(error).split())
            raise ValueError(f"{path} of {rev} is neither in DVC's cache nor to be had from a remote ({reason}); "
                             f"{way_to_restore(path, expected, commit)}") from error  # fmt: skip
        if expected not in (None, manifest.dvc_md5(copy)):
            raise ValueError(f"{path} of {rev}: its bytes are not those that dvc.lock names; push it to the remote "
                             "again from a cache that is whole")  # fmt: skip
        shutil.rmtree(out, ignore_errors=True)
        out.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(copy, out)


def way_to_restore(path: str, md5: str | None, commit: str) -> str:
    """How what the cache has lost comes back: from the workspace, if it still holds that, else by making it anew."""
    place = paths.workspace() / path
    if place.exists() and manifest.dvc_md5(place) == md5:
        return "the workspace still holds it: `dvc commit` puts it back into the cache"
    return f"`dvc repro` makes it anew in a checkout of {commit[:12]}"


def open_repo() -> "Repo":
    """DVC's own view of the workspace, to be closed."""
    from dvc.repo import Repo  # as long to load as a stage takes to start

    return Repo(str(paths.workspace()))


def current_storage() -> dict[str, Any]:
    """The cache and the remotes as they are set now; those that an earlier commit knew may have moved."""
    with open_repo() as repo:
        sections = {name: dict(repo.config[name]) for name in ("core", "remote")}
        return {**sections, "cache": {"dir": repo.cache.local_cache_dir}}


def list_cached_files(md5: str) -> dict[str, str]:
    """The md5 of each file of a folder, by relative path, if this repository's cache has that folder; else empty."""
    file = cache_path(md5)
    rows = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else []
    return {row["relpath"]: row["md5"] for row in rows}


def are_cached(md5s: list[str]) -> bool:
    """Whether this repository's cache has all of these outputs, with every file of those that are folders."""
    with open_repo() as repo:
        storage = repo.cache.local
        places = {md5: Path(storage.oid_to_path(md5)) for md5 in md5s}
        folders = [file for md5, file in places.items() if md5.endswith(".dir") and file.is_file()]
        rows = [row for file in folders for row in json.loads(file.read_text(encoding="utf-8"))]
        parts = [Path(storage.oid_to_path(row["md5"])) for row in rows]
        return all(file.is_file() for file in [*places.values(), *parts])


def has_remote() -> bool:
    """Whether `dvc pull` has a place to pull from."""
    with open_repo() as repo:
        return bool(repo.config["core"].get("remote"))


def cache_path(md5: str) -> Path:
    """Where this repository's cache keeps what has this md5."""
    with open_repo() as repo:
        return Path(repo.cache.local.oid_to_path(md5))
