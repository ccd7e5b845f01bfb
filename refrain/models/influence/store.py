"""Gradients of the rows of one training on disk, as sketches: appended as they are computed, read by all questions."""

import fcntl
import logging
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import numpy.typing as npt

from refrain.pipeline import paths

log = logging.getLogger(__name__)
MOST_TRAININGS = 3  # whose gradients are kept
MOST_BYTES = 1 << 30  # of one training
WIDTHS = (4096, 2048, 1024, 512)
CHUNK = 4096  # rows that are compared at a time


def store_root() -> Path:
    """Where the gradients of all trainings are."""
    return paths.workspace() / ".influence"


def choose_width(num_rows: int) -> int:
    """The widest sketch with which the rows have room."""
    return next((width for width in WIDTHS if num_rows * (2 * width + 4) <= MOST_BYTES), WIDTHS[-1])


class GradientStore:
    """A record a row: the norm of its gradient, and the sketch of its direction."""

    def __init__(self, folder: Path, width: int) -> None:
        self._file = folder / f"rows.{width}"
        self._order = folder / f"order.{width}"
        self._record = np.dtype([("norm", "<f4"), ("sketch", "<f2", (width,))])

    def __len__(self) -> int:
        return self._file.stat().st_size // self._record.itemsize if self._file.is_file() else 0

    def read_order(self) -> list[int]:
        """Which rows of the training these are, once all are there; none before."""
        order = np.fromfile(self._order, "<i8").tolist() if self._order.is_file() else []
        return order if len(order) == len(self) else []

    def write_order(self, order: list[int]) -> None:
        """Say that all rows are there."""
        np.array(order, "<i8").tofile(self._order)

    def truncate(self, rows: int) -> None:
        """Forget all but the first rows."""
        if self._file.is_file():
            with self._file.open("r+b") as file:
                file.truncate(rows * self._record.itemsize)

    def append(self, norms: npt.NDArray[np.float32], sketches: npt.NDArray[np.float32]) -> None:
        """Further rows, in their order."""
        records = np.zeros(len(norms), self._record)
        records["norm"] = norms
        records["sketch"] = sketches / np.maximum(norms, np.float32(1e-30))[:, None]
        with self._file.open("ab") as file:
            file.write(records.tobytes())

    def cosines(self, direction: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """About what the cosine of each row with a gradient is, of which this is the sketch of the direction."""
        if not len(self):
            return np.zeros(0, np.float32)
        records = np.memmap(self._file, self._record, "r", shape=(len(self),))
        parts = [records["sketch"][at : at + CHUNK].astype(np.float32) @ direction for at in range(0, len(self), CHUNK)]
        return np.concatenate(parts)


@contextmanager
def open_store(key: str, width: int) -> Iterator[GradientStore]:
    """The gradients of a training, this process alone with them; those of the oldest other ones go."""
    folder = store_root() / key
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            log.info("another process works on the gradients of this training; waiting for it to end")
            fcntl.flock(lock, fcntl.LOCK_EX)
        remove_oldest(folder)
        yield GradientStore(folder, width)


def remove_oldest(own: Path) -> None:
    """Keep the folder and the newest others, as many as are kept."""
    others = sorted(
        (lock for lock in store_root().glob("*/lock") if lock.parent != own), key=lambda lock: lock.stat().st_mtime
    )
    for lock in others[: max(0, len(others) - (MOST_TRAININGS - 1))]:
        remove_unused(lock.parent)


def remove_all() -> int:
    """Remove all gradients that no process works with; returns the bytes that became free."""
    return sum(remove_unused(lock.parent) for lock in sorted(store_root().glob("*/lock")))


def remove_unused(folder: Path) -> int:
    """Remove the gradients of a training unless a process works with them; returns the bytes that became free."""
    with (folder / "lock").open("r+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return 0
        freed = sum(file.stat().st_size for file in folder.iterdir())
        shutil.rmtree(folder)
    return freed
