"""Data sets of the Hub: of one commit the files of rows alone, in the client's cache, and links to them."""

import json
import logging
import os
import re
import sys
from collections import defaultdict
from glob import escape
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from huggingface_hub import HfApi, constants, snapshot_download
from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError
from huggingface_hub.utils.tqdm import disable_progress_bars

from refrain.data import data_cards, sources, split_names
from refrain.data.readers import archives, folders
from refrain.models.pretrained import hub, snapshot
from refrain.pipeline import front_matter
from refrain.pipeline.schema import SourceConfig

log = logging.getLogger(__name__)


LISTING = ".listing.json"  # beside the files in the cache: all that their commit has, also what was not fetched


class Commit(NamedTuple):
    """A commit of a data set."""

    id: str
    sizes: dict[str, int]  # of its files, in bytes


def link_dataset(source: SourceConfig, link: Path, key: str) -> None:
    """`link` is a folder of links to the files of one commit, with its record; nothing of it is run.

    The Hub is asked where the cache lacks a file, or by hand, where a revision may have moved; a stage of DVC stays
    with the commit that the cache knows.
    """
    repository, revision = str(source.hub), str(source.revision)
    where = f"{repository}@{revision}" + (" in the cache" if constants.HF_HUB_OFFLINE else "")
    if not sys.stderr.isatty():
        disable_progress_bars()
    with hub.explain_client_errors(where, key, "a folder"):
        folder = find_in_cache(repository, revision)
        is_settled = constants.HF_HUB_OFFLINE or "DVC_ROOT" in os.environ or re.fullmatch("[0-9a-f]{40}", revision)
        commit = read_listing(folder) if folder and is_settled else ask_hub(repository, revision, folder)
        names = choose_files(commit, source, where)
        if is_settled and not has_files(folder, names) and not constants.HF_HUB_OFFLINE:
            commit = ask_hub(repository, revision)
            names = choose_files(commit, source, where)
        if folder is None or folder.name != commit.id or not has_files(folder, names):
            folder = download_files(repository, revision, commit, with_card(commit, names), where)
    link_files(folder, names, link)
    if (folder / front_matter.CARD).is_file():
        link_files(folder, [front_matter.CARD], data_cards.card_of(link.parent, link.name).parent)
    sources.write_record(link, {"hub": repository, "revision": revision, "commit": commit.id})


def link_files(folder: Path, names: list[str], link: Path) -> None:
    """Links to files of a folder, in folders as they are there."""
    for name in names:
        (link / name).parent.mkdir(parents=True, exist_ok=True)
        (link / name).symlink_to((folder / name).absolute())


def find_in_cache(repository: str, revision: str) -> Path | None:
    """Where the client's cache has files of a revision, if it has, with a listing of all that there are."""
    is_online = not constants.HF_HUB_OFFLINE
    try:
        folder = Path(snapshot_download(repository, repo_type="dataset", revision=revision, local_files_only=is_online))
    except LocalEntryNotFoundError:
        if is_online:
            return None
        raise
    return folder if (folder / LISTING).is_file() else None


def read_listing(folder: Path) -> Commit:
    """What the Hub once said of the commit of a folder in the cache."""
    return Commit(folder.name, json.loads((folder / LISTING).read_text(encoding="utf-8")))


def has_files(folder: Path | None, names: list[str]) -> bool:
    """Whether a folder of the cache has these files."""
    return folder is not None and all((folder / name).is_file() for name in names)


def ask_hub(repository: str, revision: str, folder: Path | None = None) -> Commit:
    """What the Hub says of a revision; where it cannot be reached, what it once said of the folder in the cache."""
    try:
        info = HfApi().dataset_info(repository, revision=revision, files_metadata=True)
    except OSError as error:
        if folder is None or isinstance(error, HfHubHTTPError):
            raise
        log.warning("no connection to the Hub; %s@%s is commit %s, as in the cache", repository, revision, folder.name)
        return read_listing(folder)
    return Commit(str(info.sha), {file.rfilename: file.size or 0 for file in info.siblings or []})


def choose_files(commit: Commit, source: SourceConfig, where: str) -> list[str]:
    """The files of rows that a source names; ValueError when there are none, or those of several configurations."""
    readable = [name for name in sorted(commit.sizes) if folders.holds_rows(name) and not is_hidden(name)]
    names = [name for name in readable if sources.is_chosen(name, source)]
    if not names:
        wish = f" that files={source.files} names" if source.files else ""
        script = next((name for name in commit.sizes if name.endswith(".py")), None)
        why = f"; rows are made by {script}, which would have to be run" if script and not readable else ""
        there = ", ".join((readable or sorted(commit.sizes))[:5]) or "no file"
        raise ValueError(f"{where}: there is no file of rows{wish}{why}; it holds {there}")
    homes = defaultdict[str | None, dict[str, None]](dict)
    for name in names:
        homes[split_names.split_of(name)][str(PurePosixPath(name).parent)] = None
    for split, several in homes.items():
        if split and len(several) > 1:
            raise ValueError(f"{where}: several configurations have files of {split}, in {', '.join(several)}; "
                             f"choose one beside the hub, such as `files: {next(iter(several))}/*`")  # fmt: skip
    return names


def with_card(commit: Commit, names: list[str]) -> list[str]:
    """The files, and the card that their repository has; not where the cache alone is asked, which may lack it."""
    has_card = front_matter.CARD in commit.sizes and not constants.HF_HUB_OFFLINE
    return [*names, front_matter.CARD] if has_card else names


def is_hidden(name: str) -> bool:
    """Whether a file is hidden, or in a folder that is, or leads out of its repository."""
    return name.startswith("/") or any(map(archives.is_hidden, PurePosixPath(name).parts))


def download_files(repository: str, revision: str, commit: Commit, names: list[str], where: str) -> Path:
    """The folder of the commit in the client's cache, with these files, as they were published."""
    if constants.HF_HUB_OFFLINE:
        raise ValueError(f"{where}: some of its files were never fetched; unset HF_HUB_OFFLINE once to fetch them")
    size = sum(commit.sizes[name] for name in names)
    log.info("%s is commit %s: %d files, %.1f MB in all", where, commit.id, len(names), size / 1e6)
    # By the revision, not by its commit: so the cache learns what the revision is and can answer offline.
    wanted = [escape(name) for name in names]
    folder = Path(snapshot_download(repository, repo_type="dataset", revision=revision, allow_patterns=wanted))
    if folder.name != commit.id:
        raise ValueError(f"{where}: it moved while it was fetched; run again")
    hub.check_hashes(folder, snapshot.hash_files(folder, names), where)
    (folder / LISTING).write_text(json.dumps(commit.sizes, sort_keys=True), encoding="utf-8")
    return folder
