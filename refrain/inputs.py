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
        records.link(index, source.path).symlink_to(found(str(file), f"data.sources[{index}].path"))
    paths.empty(paths.LINKED_MODEL)
    if model.tiny is not None:
        (paths.LINKED_MODEL / "corpus.txt").symlink_to(found(model.tiny.corpus, "model.tiny.corpus"))
    if model.folder is not None:
        for file in sorted(found(model.folder, "model.folder", folder=True).iterdir()):
            (paths.LINKED_MODEL / file.name).symlink_to(file.resolve())


def found(path: str, key: str, folder: bool = False) -> Path:
    """The absolute path of a file, looked for here and, inside an experiment's copy, in the user's repository."""
    for root in (Path.cwd(), Path(os.environ.get("DVC_ROOT", "."))):
        place = (root / Path(path).expanduser()).resolve()
        if place.is_dir() if folder else place.is_file():
            return place
    raise ValueError(f"{key}: there is no {'folder' if folder else 'file'} {path}; correct the path")
