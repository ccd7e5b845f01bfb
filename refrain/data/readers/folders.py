"""Folders and archives: which of their files hold rows, in an order of their own, and which of them a pattern names."""

import json
import os
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath

from refrain.data.readers import archives, files

SAVED = {"dataset_info.json", "state.json"}  # `datasets.save_to_disk` writes them beside its files


METADATA = {"dataset_dict.json", "dataset_info.json", "dataset_infos.json", "state.json"}  # they hold no rows


def list_paths(place: Path) -> list[Path]:
    """The file itself; of a folder the files with rows, sorted, of a ZIP the paths that lead to its members."""
    if place.is_dir():
        return [path for name in list_files(place) if holds_rows(name) for path in list_paths(place / name)]
    if files.is_archive(place.name):
        return [place / name for name in files.list_members(place) if holds_rows(name) and not files.is_archive(name)]
    return [place]


def list_others(place: Path) -> list[str]:
    """The files of a folder or a ZIP that are not read, but for what describes a data set."""
    names = list_files(place) if place.is_dir() else []
    names += files.list_members(place) if place.is_file() and files.is_archive(place.name) else []
    return [name for name in names if not holds_rows(name) and PurePosixPath(name).name not in METADATA]


def holds_rows(name: str) -> bool:
    """Whether a file of this name may be read."""
    return (files.can_read(name) or files.is_archive(name)) and PurePosixPath(name).name not in METADATA


def list_files(folder: Path) -> list[str]:
    """The files below a folder by relative path, sorted, but for hidden ones; links to folders are not followed."""
    return sorted(walk(folder, ""))


def walk(folder: Path, prefix: str) -> Iterator[str]:
    """The files below a folder; of a data set that `datasets` has saved those that it lists, for others are caches."""
    with os.scandir(folder) as entries:
        shown = [entry for entry in entries if not archives.is_hidden(entry.name)]
    names = {entry.name for entry in shown if not entry.is_dir()}
    yield from (f"{prefix}{name}" for name in (saved_files(folder) if names >= SAVED else names))
    for entry in shown:
        if entry.is_dir(follow_symlinks=False):
            yield from walk(folder / entry.name, f"{prefix}{entry.name}/")


def saved_files(folder: Path) -> list[str]:
    """The files that the state.json of `save_to_disk` lists; ValueError when one is missing or elsewhere."""
    path = folder / "state.json"
    try:
        state = json.loads(path.read_text(encoding="utf-8"))
        names = [str(file["filename"]) for file in state["_data_files"]]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ValueError(f"{path}: it lists no files of a saved data set; save it again with save_to_disk") from error
    for name in names:
        if name != PurePosixPath(name).name or not (folder / name).is_file():
            raise ValueError(f"{path}: it lists {name}, which is not beside it; copy the whole folder")
    if state.get("_indices_data_files"):
        raise ValueError(f"{path}: the rows are chosen by indices, as by old versions of datasets; save it again")
    return names


def has_pattern(path: str) -> bool:
    """Whether a path has signs of a pattern."""
    return any(sign in path for sign in "*?[")


def split_pattern(path: str) -> tuple[str, str]:
    """The folder in which a pattern such as dir/*.jsonl begins, and the pattern below it."""
    parts = PurePosixPath(path).parts
    first = next(number for number, part in enumerate(parts) if has_pattern(part))
    return str(PurePosixPath(*parts[:first])), str(PurePosixPath(*parts[first:]))


def matches(name: str, pattern: str) -> bool:
    """Whether a pattern names a relative path, or a folder on its way; ** stands for any folders."""
    return match_parts(PurePosixPath(name).parts, PurePosixPath(pattern).parts)


def match_parts(parts: tuple[str, ...], pattern: tuple[str, ...]) -> bool:
    if not pattern:
        return True
    if pattern[0] == "**":
        return any(match_parts(parts[skipped:], pattern[1:]) for skipped in range(len(parts) + 1))
    return bool(parts) and fnmatchcase(parts[0], pattern[0]) and match_parts(parts[1:], pattern[1:])
