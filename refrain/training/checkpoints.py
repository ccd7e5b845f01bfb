"""Checkpoints of one training: found by what its weights depend on, whole or not at all, gone after success.

They live in .checkpoints/<key> of the workspace, which DVC does not know: it empties a stage's outputs before each run.
"""

import fcntl
import hashlib
import json
import logging
import os
import platform
import shutil
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, TextIO

from refrain.pipeline import manifest, paths

log = logging.getLogger(__name__)
LIBRARIES = ("torch", "transformers", "peft", "accelerate", "bitsandbytes", "tokenizers")


def checkpoints_root() -> Path:
    """Where the checkpoints of all trainings are."""
    return paths.workspace() / ".checkpoints"


def fingerprint(settings: Iterable[Any], folders: Iterable[Path], device: str) -> str:
    """A name for all that weights depend on: settings, files, the code now imported, libraries, kind of processor."""
    files = [file for place in folders for file in sorted(place.rglob("*")) if file.is_file()]
    own_modules = {name: module for name, module in sys.modules.items() if name.split(".")[0] in ("refrain", "stages")}
    facts = {
        "settings": [*settings],
        "files": {file.as_posix(): manifest.file_sha256(file) for file in files},
        "code": {
            name: manifest.file_sha256(Path(module.__file__)) for name, module in own_modules.items() if module.__file__
        },
        "versions": {name: installed_version(name) for name in LIBRARIES},
        "machine": [platform.machine(), device],
    }
    return hashlib.sha256(json.dumps(facts, sort_keys=True, default=vars).encode()).hexdigest()[:16]


def installed_version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


@contextmanager
def exclusive_folder(name: str) -> Iterator[Path]:
    """The folder of a training, this process alone in it; removed when all inside succeeded, else kept for the next.

    Another process with the same training is waited for: when only `dvc` is killed, its trainer lives on for a step.
    """
    folder = checkpoints_root() / name
    checkpoints_root().mkdir(parents=True, exist_ok=True)
    with file_lock(folder.with_suffix(".lock")):
        folder.mkdir(exist_ok=True)
        for path in (path for path in list_checkpoints(folder) if not is_complete(path)):
            log.info("%s is not whole and is removed", path.name)
            shutil.rmtree(path)
        yield folder
        shutil.rmtree(folder)


@contextmanager
def file_lock(path: Path) -> Iterator[None]:
    """Alone with the lock file; it is removed when all inside succeeded."""
    file = path.open("w")
    while not acquire_lock(file) or not path.exists() or not os.path.samestat(os.fstat(file.fileno()), path.stat()):
        file.close()  # the one who had it has removed it
        file = path.open("w")
    with file:
        yield
        path.unlink()


def acquire_lock(file: TextIO) -> bool:
    """True when the lock is ours, at once or after a wait."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        log.info("the same training still runs in another process; waiting for it to end")
        fcntl.flock(file, fcntl.LOCK_EX)
    return True


def seal_checkpoint(checkpoint: Path) -> None:
    """Write the checksums of a finished checkpoint: without them it does not count."""
    manifest.write_manifest(checkpoint, {})


def is_complete(checkpoint: Path) -> bool:
    """Whether every byte of a checkpoint is as it was when it was sealed."""
    try:
        return not manifest.find_problems(checkpoint)
    except ValueError:
        return False


def list_checkpoints(folder: Path) -> list[Path]:
    """The checkpoints in the folder of a training, whole or not, the newest first."""
    return sorted(folder.glob("checkpoint-*"), key=lambda path: int(path.name.rpartition("-")[2]), reverse=True)


def latest_checkpoint(folder: Path) -> Path | None:
    """The whole checkpoint of the most steps."""
    return next((path for path in list_checkpoints(folder) if is_complete(path)), None)


def prune_checkpoints(folder: Path) -> None:
    """Keep the newest whole checkpoint and nothing older."""
    newest = latest_checkpoint(folder)
    for path in list_checkpoints(folder)[list_checkpoints(folder).index(newest) + 1 :] if newest else []:
        shutil.rmtree(path)


def remove_stale_checkpoints() -> int:
    """Remove the checkpoints of all trainings that no process works on; returns the bytes that became free."""
    freed = 0
    for lock in sorted(checkpoints_root().glob("*.lock")):
        with lock.open("w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            freed += folder_bytes(lock.with_suffix(""))
            shutil.rmtree(lock.with_suffix(""), ignore_errors=True)
            lock.unlink()
    return freed


def folder_bytes(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def require_disk_space(folder: Path, needed: int) -> None:
    """OSError unless the disk under `folder` has so many bytes free; those of older checkpoints there will be freed."""
    free = shutil.disk_usage(folder).free + folder_bytes(folder)
    if free < needed:
        raise OSError(
            f"{folder}: checkpoints need {needed / 1e9:.2f} GB and {free / 1e9:.2f} GB are free; "
            "make room, `refrain clean` removes those of other trainings"
        )
