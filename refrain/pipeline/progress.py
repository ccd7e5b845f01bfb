"""How far long work has got: a bar on a terminal, with rate and time left; elsewhere, or when all is quiet, nothing."""

import logging
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

if TYPE_CHECKING:
    from tqdm import tqdm

T = TypeVar("T")


def is_shown() -> bool:
    """Whether anybody is to see bars: on a terminal, unless --quiet was asked for."""
    return sys.stderr.isatty() and logging.getLogger("refrain").level <= logging.INFO


def open_bar(unit: str, total: int | None = None, description: str | None = None, done: int = 0) -> "tqdm[NoReturn]":
    """A bar on stderr that is gone when it is closed; disabled where stderr is no terminal, and after --quiet."""
    from tqdm import tqdm  # what shows no bar need not wait for it

    return tqdm(
        desc=description,
        total=total,
        initial=done,
        unit=f" {unit}",
        unit_scale=total is None,
        disable=not is_shown(),
        leave=False,
        dynamic_ncols=True,
    )


def with_progress(
    items: Sequence[T], unit: str, description: str, size: Callable[[T], int] = lambda item: 1
) -> Iterator[T]:
    """The items, with a bar; each counts for as many units as its size."""
    if not items:
        return
    with open_bar(unit, sum(map(size, items)), description) as bar:
        for item in items:
            yield item
            bar.update(size(item))


class LineHandler(logging.StreamHandler[Any]):
    """Writes lines to stderr above whatever bars are there."""

    def emit(self, record: logging.LogRecord) -> None:
        """Bars are cleared, and drawn anew below the line."""
        bars = sys.modules.get("tqdm")
        with bars.tqdm.external_write_mode(file=self.stream) if bars else nullcontext():
            super().emit(record)
