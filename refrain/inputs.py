"""Files that the pipeline reads from anywhere, linked to one place, so that DVC sees their content."""

import os
from pathlib import Path

from refrain import paths, records
from refrain.config import Data, Model


def link(data: Data, model: Model) -> None:
    """Rebuild data/linked and models/linked: one symbolic link for each file that prepare and base read."""
    paths.empty(paths.LINKED_DATA)
    for index, source in enumerate(data.sources):
        file = Path(data.folder, Path(source.path).expanduser())
        point(records.link(index, source.path), found(str(file), f"data.sources[{index}].path"))
    paths.empty(paths.LINKED_MODEL)
    if model.tiny is not None:
        point(paths.LINKED_MODEL / "corpus.txt", found(model.tiny.corpus, "model.tiny.corpus"))
    if model.folder is not None:
        for file in sorted(found(model.folder, "model.folder", folder=True).iterdir()):
            point(paths.LINKED_MODEL / file.name, file.resolve())


def point(link: Path, file: Path) -> None:
    """Link to a file; relative within the repository, so that one that was copied does not read the other's data."""
    link.symlink_to(os.path.relpath(file, link.parent) if file.is_relative_to(Path.cwd()) else file)


def found(path: str, key: str, folder: bool = False) -> Path:
    """The absolute path of a file, looked for here and, inside an experiment's copy, in the user's repository."""
    for root in (Path.cwd(), paths.workspace()):
        place = (root / Path(path).expanduser()).resolve()
        if place.is_dir() if folder else place.is_file():
            return place
    raise ValueError(f"{key}: there is no {'folder' if folder else 'file'} {path}; correct the path")
