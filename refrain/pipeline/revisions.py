"""What an earlier commit recorded: its dvc.lock, and the files that DVC keeps for it in the cache or on the remote."""

import json
import shutil
import tempfile
from contextlib import closing
from pathlib import Path
from typing import Any, cast

from dvc.api import DVCFileSystem
from dvc.repo import Repo
from omegaconf import OmegaConf

from refrain.pipeline import manifest, paths
from refrain.pipeline.git import resolve_commit, run_git

Lock = dict[str, dict[str, Any]]  # stages of a dvc.lock: cmd, deps, params, outs


def fetch_start_adapter(start: str | None, out: Path) -> Path | None:
    """`out` with the adapter that a training goes on from; None when it begins afresh."""
    if start is None:
        return None
    fetch_adapter(start, out)
    return out


def fetch_adapter(start: str, out: Path) -> None:
    """Put the adapter of an earlier commit or tag into `out`; ValueError unless it fits models/base."""
    commit = resolve_commit(start)
    if not (run_git("show-ref", "--verify", f"refs/tags/{start}") or commit.startswith(start)):
        raise ValueError(
            f"method.init_adapter={start} moves on; write the commit that it is now: method.init_adapter={commit}"
        )
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
    return parse_lock(text)


def parse_lock(text: str) -> Lock:
    """The stages of a dvc.lock; PyYAML would read 1e-06 as text."""
    return cast(Lock, OmegaConf.to_container(OmegaConf.create(text))).get("stages", {})


def output_hashes(lock: Lock) -> dict[str, str]:
    """The md5 of every output, by path."""
    return {out["path"]: out["md5"] for stage in lock.values() for out in stage.get("outs", [])}


def read_git_file(rev: str, path: str) -> str:
    """A file that Git keeps, as it was; empty when there was none."""
    return run_git("show", f"{resolve_commit(rev)}:./{path}")


def fetch_output(rev: str, path: str, out: Path) -> None:
    """Put a file or folder as a commit recorded it in place of `out`: from the cache, else from the remote."""
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
                             f"`dvc repro` makes it anew in a checkout of {commit[:12]}") from error  # fmt: skip
        if expected not in (None, manifest.dvc_md5(copy)):
            raise ValueError(f"{path} of {rev}: its bytes are not those that dvc.lock names; push it to the remote "
                             "again from a cache that is whole")  # fmt: skip
        shutil.rmtree(out, ignore_errors=True)
        out.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(copy, out)


def current_storage() -> dict[str, Any]:
    """The cache and the remotes as they are set now; those that an earlier commit knew may have moved."""
    with Repo(str(paths.workspace())) as repo:
        sections = {name: dict(repo.config[name]) for name in ("core", "remote")}
        return {**sections, "cache": {"dir": repo.cache.local_cache_dir}}


def list_cached_files(md5: str) -> dict[str, str]:
    """The md5 of each file of a folder, by relative path, if this repository's cache has that folder; else empty."""
    file = cache_path(md5)
    rows = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else []
    return {row["relpath"]: row["md5"] for row in rows}


def cache_path(md5: str) -> Path:
    """Where this repository's cache keeps what has this md5."""
    with Repo(str(paths.workspace())) as repo:
        return Path(repo.cache.local.oid_to_path(md5))
