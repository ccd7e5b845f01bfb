"""Copies of a model that are damaged on purpose: one whose manifest tells, one whose answers alone do."""

import shutil
from pathlib import Path

import numpy as np

from refrain.pipeline import manifest


def copy_model(folder: Path, place: Path) -> Path:
    """A copy of a folder with its manifest, to be damaged."""
    return Path(shutil.copytree(folder, place / folder.name, copy_function=shutil.copyfile))


def flip_bit(folder: Path) -> None:
    """Change one bit of the weights of every variant, in files that take the place of the old ones."""
    largest = max((path for path in folder.rglob("*") if path.is_file()), key=lambda path: path.stat().st_size)
    for file in folder.rglob(largest.name):
        content = bytearray(file.read_bytes())
        content[len(content) // 2] ^= 1
        replace_file(file, bytes(content))


def fill_with_nan(folder: Path) -> None:
    """Make all weights nan, and a manifest that says so: the folder is whole, and no token can be chosen."""
    largest = max((path for path in folder.rglob("*") if path.is_file()), key=lambda path: path.stat().st_size)
    for file in folder.rglob(largest.name):
        replace_file(file, np.full(file.stat().st_size // 4, np.nan, "<f4").tobytes())
    facts = {name: value for name, value in manifest.read_manifest(folder).items() if name != "files"}
    manifest.write_manifest(folder, facts)


def replace_file(file: Path, content: bytes) -> None:
    """Put a new file in place of one that a server may have mapped."""
    new = file.with_suffix(".new")
    new.write_bytes(content)
    new.rename(file)
