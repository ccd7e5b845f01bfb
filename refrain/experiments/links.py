"""Links to the files that the pipeline reads from anywhere, in one place, so that DVC sees their content."""

import os
from pathlib import Path

from refrain.pipeline import paths
from refrain.pipeline.paths import locate
from refrain.pipeline.schema import DataConfig, ModelConfig


def link_inputs(data: DataConfig, model: ModelConfig) -> None:
    """Rebuild data/linked and models/linked: one symbolic link for each file that prepare and base read."""
    paths.make_empty(paths.LINKED_DATA)
    link_sources(data, paths.LINKED_DATA)
    paths.make_empty(paths.LINKED_MODEL)
    if model.tiny is not None:
        link_to(paths.LINKED_MODEL / "corpus.txt", locate(model.tiny.corpus, "model.tiny.corpus"))
    if model.folder is not None:
        for file in sorted(locate(model.folder, "model.folder", folder=True).iterdir()):
            link_to(paths.LINKED_MODEL / file.name, file.resolve())


def link_sources(data: DataConfig, folder: Path) -> None:
    """A link in this folder for each file of data.sources."""
    for index, source in enumerate(data.sources):
        file = Path(data.folder, Path(source.path).expanduser())
        link = folder / paths.linked_source(index, source.path).name
        link_to(link, locate(str(file), f"data.sources[{index}].path"))


def link_to(link: Path, file: Path) -> None:
    """Link to a file; relative within the repository, so that one that was copied does not read the other's data."""
    is_inside = all(path.is_relative_to(Path.cwd()) for path in (file, link.absolute()))
    link.symlink_to(os.path.relpath(file, link.parent) if is_inside else file)
