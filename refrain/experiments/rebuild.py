"""A commit run again from nothing: a clone in a folder elsewhere, with an empty DVC cache that no remote fills."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

from omegaconf import OmegaConf

from refrain.pipeline import dvc_files, manifest, old_names, paths, revisions

STAGE_BEGINS = re.compile(r"Running stage '(.+)':")
LOG = Path(".dvc/tmp/rebuild.log")


def clone_commit(commit: str, folder: Path) -> None:
    """Fill an empty folder with a commit and its inputs, and with nothing that a stage of it makes."""
    if folder.exists() and any(folder.iterdir()):
        raise ValueError(f"{folder}: it is not empty; name a folder that is, or none")
    for sentence in unreachable_inputs(revisions.read_git_file(commit, str(paths.PARAMS))):
        raise ValueError(f"{commit[:12]} cannot be rebuilt elsewhere: {sentence}")
    run_git_in(
        folder, "clone", "--quiet", "--no-hardlinks", "--no-checkout", str(paths.workspace().absolute()), str(folder)
    )
    run_git_in(folder, "-C", str(folder), "checkout", "--quiet", "--detach", commit)
    cache = folder.absolute() / ".dvc/cache"  # never one that is shared
    (folder / ".dvc/config.local").write_text(f"[cache]\n    dir = {cache}\n", encoding="utf-8")
    (folder / "dvc.lock").unlink()  # what is in it afterwards was made here
    copy_inputs(commit, folder, cache)


def unreachable_inputs(params: str) -> Iterator[str]:
    """A sentence for each file that params.yaml looks for outside the repository, by a way that begins inside."""
    values = OmegaConf.create(params)
    folder = OmegaConf.select(values, "data.folder") or "."
    paths_by_key = {
        **{f"data.sources[{i}].path": str(Path(folder, Path(source.get("path") or "").expanduser()))
           for i, source in enumerate(OmegaConf.select(values, "data.sources") or [])},
        **{key: OmegaConf.select(values, key) for key in ("model.folder", "model.tiny.corpus")},
    }  # fmt: skip
    for key, path in paths_by_key.items():
        if path is not None and os.path.normpath(Path(path).expanduser()).startswith(".."):
            yield f"{key} leads to {path}, out of the repository; write an absolute path, or move the file into it"


def copy_inputs(commit: str, folder: Path, cache: Path) -> None:
    """What this commit needs and no stage makes: files under `dvc add`, and the adapter that training starts from."""
    for file in filter(Path.is_file, folder.rglob("*.dvc")):
        for out in OmegaConf.load(file).outs:
            place = (file.parent / out.path).relative_to(folder)
            revisions.fetch_output(commit, place.as_posix(), folder / place)
    recorded = OmegaConf.to_container(OmegaConf.create(revisions.read_git_file(commit, str(paths.PARAMS))))
    start = OmegaConf.select(OmegaConf.create(old_names.upgrade(cast(dict[str, Any], recorded))), "method.init_adapter")
    if start is not None:
        adapter = cache / "tmp/adapter"
        revisions.fetch_output(start, str(paths.ADAPTER), adapter)
        add_to_cache(adapter, cache)


def add_to_cache(folder: Path, cache: Path) -> None:
    """Move a folder's files to where DVC's cache keeps them."""
    listing = folder.with_suffix(".dir")
    listing.write_bytes(manifest.dvc_listing(folder))
    files = {manifest.file_md5(file): file for file in manifest.list_files(folder).values()}
    for md5, file in {**files, manifest.dvc_md5(folder): listing}.items():
        place = cache / "files/md5" / md5[:2] / md5[2:]
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(file, place)


def rerun_stages(folder: Path) -> Iterator[str]:
    """Run every stage; each is named when it begins. Ends early when one fails; `failure_text` says why."""
    (folder / LOG.parent).mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "dvc", "repro", "--no-commit"]
    with (
        (folder / LOG).open("w", encoding="utf-8") as log,
        subprocess.Popen(command, cwd=folder, env=clean_environment(folder), stdout=subprocess.PIPE,
                         stderr=subprocess.STDOUT, encoding="utf-8", errors="replace") as process,
    ):  # fmt: skip
        for line in process.stdout or ():
            log.write(line)
            if match := STAGE_BEGINS.match(line):
                yield match[1]


def clean_environment(folder: Path) -> dict[str, str]:
    """The environment of this process, but for what tells DVC or Git of another repository; this Python comes first."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("DVC_", "GIT_"))}
    return environment | {
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")]),
        "PYTHONUNBUFFERED": "1",  # a stage is named when it begins, not when a buffer is full
        "DVC_NO_ANALYTICS": "1",
        "DVC_SITE_CACHE_DIR": str(folder.absolute() / ".dvc/tmp/site"),
    }


def failure_text(folder: Path) -> str:
    """The last thing that a stage which failed said, and how DVC saw it end."""
    lines = [line.strip() for line in (folder / LOG).read_text(encoding="utf-8").splitlines() if line.strip()]
    dvc_errors = [line for line in lines if line.startswith("ERROR: failed to reproduce")]
    stage_output = [line for line in lines if line not in dvc_errors]
    return f"{' '.join(stage_output[-1:])!r} ({' '.join(dvc_errors[-1:]).partition(': ')[2]})"


def finished_stages(folder: Path) -> dict[str, Any]:
    """The stages that the rerun has finished, in their order, as its dvc.lock lists them."""
    file = folder / "dvc.lock"
    return dvc_files.parse_stages(file.read_text(encoding="utf-8")) if file.is_file() else {}


def run_git_in(folder: Path, *arguments: str) -> None:
    process = subprocess.run(["git", *arguments], capture_output=True, encoding="utf-8")
    if process.returncode:
        raise ValueError(f"{folder}: git {arguments[0]} failed: {' '.join(process.stderr.split())}")
