"""What a folder holds, with the checksum of each file: whoever fetched it can tell whether it is whole."""

import hashlib
import json
from pathlib import Path
from typing import Any

MANIFEST = "manifest.json"
OF_THE_HUB = (".gitattributes", ".cache/huggingface/", ".git/")  # beside what was fetched from there


def write_manifest(folder: Path, facts: dict[str, Any]) -> None:
    """The facts, and the sha256 of every other file under the folder."""
    content = json.dumps({**facts, "files": sha256_by_file(folder)}, indent=2, ensure_ascii=False)
    (folder / MANIFEST).write_text(content + "\n", encoding="utf-8")


def read_manifest(folder: Path) -> dict[str, Any]:
    """The facts and, under `files`, the checksums; ValueError when they are missing or unreadable."""
    path = folder / MANIFEST
    if not path.is_file():
        raise ValueError(f"{path}: there is no such file to say what the folder should hold; fetch it again")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path}: it is not JSON ({error}); fetch the folder again") from error
    if not isinstance(content, dict) or not isinstance(content.get("files"), dict):
        raise ValueError(f"{path}: it lists no files; fetch the folder again")
    return content


def find_problems(folder: Path) -> list[str]:
    """One sentence for each file that is missing, changed or not listed; none when the folder is whole.

    What the Hub and its client leave beside what was published is not looked at.
    """
    listed, present = read_manifest(folder)["files"], sha256_by_file(folder)
    present = {name: value for name, value in present.items() if name in listed or not name.startswith(OF_THE_HUB)}
    differ = {name for name in listed.keys() & present if listed[name] != present[name]}
    missing = [f"{name}: it is listed but missing" for name in listed.keys() - present]
    unlisted = [f"{name}: it is there but not listed" for name in present.keys() - listed]
    changed = [f"{name}: checksum mismatch" for name in differ]
    return sorted(missing + unlisted + changed)


def sha256_by_file(folder: Path) -> dict[str, str]:
    """The sha256 of each file under the folder but the manifest, by relative path."""
    return {name: file_sha256(path) for name, path in list_files(folder).items() if name != MANIFEST}


def content_hash(path: Path) -> str:
    """One sha256: that of a file, or of a folder's lines of sha256 and relative path."""
    if path.is_file():
        return file_sha256(path)
    lines = "".join(f"{file_sha256(file)}  {name}\n" for name, file in list_files(path).items())
    return hashlib.sha256(lines.encode()).hexdigest()


def dvc_md5(path: Path) -> str:
    """The md5 by which dvc.lock names this file or folder."""
    return file_md5(path) if path.is_file() else hashlib.md5(dvc_listing(path)).hexdigest() + ".dir"


def dvc_listing(folder: Path) -> bytes:
    """What DVC's cache keeps of a folder: the md5 of each file, by relative path."""
    rows = [{"md5": file_md5(path), "relpath": name} for name, path in list_files(folder).items()]
    return json.dumps(rows).encode()


def list_files(folder: Path) -> dict[str, Path]:
    """All files under a folder, in the order of their relative paths."""
    paths = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    return dict(sorted(paths.items()))


def file_sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def file_md5(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "md5").hexdigest()
