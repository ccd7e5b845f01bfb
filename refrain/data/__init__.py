"""From any file to data/prepared: readers (bytes to raw rows), shapes (raw rows to conversations), cleaning,
splitting, and the files and reports that come of it. Flows in that order, never back.

`refrain.data.load(rows)` does the same in memory, for a notebook: it is `refrain.workflow.dataset.load`."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from refrain.workflow.dataset import Data, Source, load

__all__ = ["Data", "Source", "load"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from refrain import import_late  # what reads rows for a stage does not wait for what a notebook needs

    return import_late("refrain.workflow.dataset", name)
