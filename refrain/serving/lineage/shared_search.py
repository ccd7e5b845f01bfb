"""The search in the rows of training, for all requests: one at a time, in a thread, loaded at the first."""

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from refrain.serving.lineage.training_search import TrainingSearch


class SharedSearch:
    """As `TrainingSearch`, which a server without such questions need not load."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = asyncio.Lock()
        self._search: TrainingSearch | None = None

    async def search(self, text: str, limit: int, learned: dict[str, str] | None) -> dict[str, Any]:
        """What `TrainingSearch.search` answers."""
        async with self._lock:
            return await asyncio.to_thread(self._search_now, text, limit, learned)

    def _search_now(self, text: str, limit: int, learned: dict[str, str] | None) -> dict[str, Any]:
        from refrain.serving.lineage.training_search import TrainingSearch

        self._search = self._search or TrainingSearch(self._folder)
        return self._search.search(text, limit, learned)

    def close(self) -> None:
        if self._search is not None:
            self._search.close()
