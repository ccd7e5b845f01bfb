"""The files that DVC keeps, by their checksums: from the cache, else from the remote, and never another one's bytes."""

import hashlib
from types import TracebackType
from typing import Any, Self

import msgspec
from dvc.exceptions import DvcException

from refrain.pipeline import paths, revisions

DIRECTORY = ".dir"  # ends the checksum of a folder


class ObjectStore:
    """The cache and the remote of this repository, as they are set now; a context manager."""

    def __init__(self) -> None:
        try:
            self.repo = revisions.open_repo()
        except DvcException as error:
            reason = " ".join(str(error).split())
            raise ValueError(f"{paths.workspace().resolve()}: DVC cannot open it ({reason}); `git clone` brings a "
                             "whole one, `refrain doctor` says what this one lacks") from error  # fmt: skip
        self.remote: Any = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.repo.close()

    def list_folder(self, md5: str) -> dict[str, str]:
        """The checksum of each file of a folder, by its path there."""
        rows = msgspec.json.decode(self.read(md5), type=list[dict[str, Any]])
        return {row["relpath"]: row["md5"] for row in rows}

    def read(self, md5: str) -> bytes:
        """A file, or the list of a folder; LookupError with the reason where nothing has it, ValueError if damaged."""
        cache = self.repo.cache.local
        place = cache.oid_to_path(md5)
        if cache.fs.exists(place):
            return require_whole(cache.fs.cat_file(place), md5, place, "remove it, and `dvc fetch` brings it anew")
        remote = self.open_remote()
        place = remote.oid_to_path(md5)
        try:
            content = remote.fs.cat_file(place)
        except FileNotFoundError as error:
            raise LookupError("neither DVC's cache nor the remote has them") from error
        except Exception as error:  # a remote fails in ways of its own
            raise LookupError(
                f"DVC's cache lacks them, and the remote fails: {' '.join(str(error).split())}"
            ) from error
        return require_whole(content, md5, place, "push it again from a cache that is whole")

    def open_remote(self) -> Any:
        """The default remote; LookupError when there is none."""
        if self.remote is None:
            try:
                self.remote = self.repo.cloud.get_remote_odb()
            except DvcException as error:
                raise LookupError("DVC's cache lacks them, and no remote is set") from error
        return self.remote

    def count_unfinished(self) -> dict[str, int]:
        """How many experiments of DVC's queue have no result, by the reason."""
        queue = self.repo.experiments.celery_queue
        entries = {"failed": queue.iter_failed(), "running": queue.iter_active(), "queued": queue.iter_queued()}
        return {state: count for state, found in entries.items() if (count := len(list(found)))}


def require_whole(content: bytes, md5: str, place: str, way_out: str) -> bytes:
    """The content, if it is what the checksum is of."""
    if hashlib.md5(content).hexdigest() != md5.removesuffix(DIRECTORY):
        raise ValueError(f"{place}: checksum mismatch, its bytes are not those that dvc.lock names; {way_out}")
    return content
