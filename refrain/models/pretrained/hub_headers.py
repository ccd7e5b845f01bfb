"""A model of the Hub as a folder without its weights: all small files, and of the weights the headers alone."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from huggingface_hub import HfApi, constants, snapshot_download
from huggingface_hub.utils.tqdm import disable_progress_bars

from refrain.models.pretrained import hub, snapshot
from refrain.models.pretrained.preflight import headers


@contextmanager
def checked_outline(repository: str, revision: str) -> Iterator[Path]:
    """A folder as of fetch_outline that has passed every check of a base, before its weights are fetched."""
    with TemporaryDirectory() as scratch:
        folder = Path(scratch)
        fetch_outline(repository, revision, folder)
        snapshot.check_files(folder, snapshot.list_names(folder), f"{repository}@{revision}", lambda names: None)
        yield folder


def fetch_outline(repository: str, revision: str, out: Path) -> str:
    """`out` looks like the repository at a revision, but its weights have no values; the commit that it is.

    Headers are read by ranges of bytes. What is no model in the format of transformers is a ValueError, as for base.
    """
    where = f"{repository}@{revision}" + (" in the cache" if constants.HF_HUB_OFFLINE else "")
    disable_progress_bars()
    with hub.explain_client_errors(where):
        folder = Path(
            snapshot_download(repository, revision=revision, allow_patterns=[*snapshot.SMALL, snapshot.INDEX])
        )
        names = hub.list_files(repository, folder)
        snapshot.select_small_files(names, where)
        for name in snapshot.match_names(snapshot.list_names(folder), (*snapshot.SMALL, snapshot.INDEX)):
            (out / name).parent.mkdir(exist_ok=True)
            (out / name).symlink_to((folder / name).resolve())
        for name in snapshot.match_names(names, ("*.safetensors",)):
            headers.write_without_values(out / name, fetch_header(repository, folder, name))
    return folder.name


def fetch_header(repository: str, folder: Path, name: str) -> dict[str, Any]:
    """The header of a file of weights: from the cache where that has the file, else from the Hub."""
    if (folder / name).is_file():
        return headers.read_header(folder / name)
    published = HfApi().parse_safetensors_file_metadata(repository, name, revision=folder.name)
    metadata = {"__metadata__": published.metadata} if published.metadata else {}
    return metadata | {
        tensor: {"dtype": entry.dtype, "shape": entry.shape, "data_offsets": list(entry.data_offsets)}
        for tensor, entry in published.tensors.items()
    }
