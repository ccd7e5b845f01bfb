"""The models that a server speaks with: each variant of a folder under a name of its own."""

import asyncio
import gc
import weakref
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from refrain.serving.backends.protocol import Backend
from refrain.serving.errors import ApiError
from refrain.serving.models import memory, model_names, opening
from refrain.serving.models.artifact import Artifact
from refrain.serving.models.opening import OpenModel
from refrain.serving.settings.schema import ServeSettings

POLL_SECONDS = 0.05  # until a model that was replaced is looked at again
POLLS_BEFORE_GC = 100  # a request that failed may hold its model in a cycle of references


@dataclass(frozen=True)
class ServedModel:
    """An open model under one of its names."""

    name: str  # as requests name it: refrain, refrain:int8
    artifact: Artifact
    backend: Backend

    @property
    def folder(self) -> Path:
        return self.artifact.folder

    @property
    def seal(self) -> str:
        """sha256 of what is in the folder."""
        return self.artifact.seal

    @property
    def variant(self) -> str:
        return self.artifact.variant

    @property
    def commit(self) -> str | None:
        return self.artifact.commit


@dataclass(frozen=True)
class Replacement:
    """What a reload has found of a model that is open."""

    name: str
    seal: str
    previous_seal: str | None
    variant: str
    commit: str | None


class ModelPool:
    """Models by name, the default one open from the start, others when they are first asked for.

    All but the default one leave, the least recently used first, when there is no room for another one. All methods
    are for the thread of the event loop.
    """

    def __init__(self, settings: ServeSettings) -> None:
        self._settings = settings
        self.folders = model_names.find_folders(settings)
        self._memory = settings.models_memory or opening.share_of_free_memory()
        self._open = OrderedDict[Path, OpenModel]()  # the least recently used first
        self._opening: dict[Path, asyncio.Task[OpenModel]] = {}
        self._retired: dict[Backend, asyncio.Task[None]] = {}  # replaced, and answering until nobody holds them
        self._is_reloading = False
        self._held = set[Path]()  # what a reload is about to replace stays until then
        self._open[self._default_folder] = opening.open_first(self._default_folder, settings)

    @property
    def _default_folder(self) -> Path:
        return self.folders[self._settings.served_model_name]

    @property
    def default(self) -> ServedModel:
        """The model that answers requests which name none."""
        return self._serve(self._settings.served_model_name, self._open[self._default_folder])

    def names(self) -> list[str]:
        """What requests may name, the default first."""
        return list(self.folders)

    def open_models(self) -> list[ServedModel]:
        """Those that are open, each under its first name."""
        first = {folder: name for name, folder in reversed(self.folders.items())}
        return [self._serve(first[folder], opened) for folder, opened in self._open.items()]

    async def find(self, name: str | None) -> ServedModel:
        """The model of that name, the default for none; ApiError 404 where there is none, 409 where it is damaged."""
        name = name or self._settings.served_model_name
        if (folder := self.folders.get(name)) is None:
            raise ApiError(404, "model_not_found", f"model: there is no {name}; name one of {', '.join(self.folders)}",
                           "model")  # fmt: skip
        if folder not in self._open:
            return self._serve(name, await self._open_once(folder))
        self._open.move_to_end(folder)
        return self._serve(name, self._open[folder])

    async def reload(self, settings: ServeSettings | None = None) -> list[Replacement]:
        """Open what the folders hold now, and put it in place of what is open; what runs ends on the old ones.

        ApiError 409 where another reload runs, or a folder is damaged: then the old ones go on.
        """
        if self._is_reloading:
            raise ApiError(409, "reload_running", "the reload: another one is running; wait until it has ended")
        self._is_reloading = True
        try:
            return await self._reload(settings or self._settings)
        except ValueError as error:
            raise ApiError(409, "artifact_damaged", f"{error}; what was open goes on answering") from error
        finally:
            self._is_reloading, self._held = False, set()

    def is_alive(self) -> bool:
        """Whether every open model can still answer."""
        return all(opened.backend.is_alive() for opened in self._open.values())

    def num_running(self) -> int:
        """Replies that grow, on replaced models too."""
        return sum(backend.num_running() for backend in self._backends())

    def num_waiting(self) -> int:
        """Replies in queues, of replaced models too."""
        return sum(backend.num_waiting() for backend in self._backends())

    def close(self) -> None:
        """End all that runs."""
        for backend in self._backends():
            backend.close()

    def _backends(self) -> list[Backend]:
        return [*(opened.backend for opened in self._open.values()), *self._retired]

    def _serve(self, name: str, opened: OpenModel) -> ServedModel:
        return ServedModel(name, opened.artifact, opened.backend)

    async def _open_once(self, folder: Path) -> OpenModel:
        """Open a model for all who ask for it meanwhile."""
        if folder not in self._opening:
            self._make_room(folder)
            task = asyncio.create_task(self._load(folder))
            task.add_done_callback(lambda task: task.cancelled() or task.exception())  # all who asked may have left
            self._opening[folder] = task
        return await asyncio.shield(self._opening[folder])

    async def _load(self, folder: Path) -> OpenModel:
        settings = self._settings
        try:
            opened = await asyncio.to_thread(lambda: opening.open_current(None, folder, settings))
        except ValueError as error:
            raise ApiError(409, "artifact_damaged", str(error), "model") from error
        finally:
            del self._opening[folder]
        self._open[folder] = opened
        if folder not in self.folders.values():  # a reload has taken its name away
            self._retire(folder)
        return opened

    def _make_room(self, folder: Path) -> None:
        """Let models leave until there is room for another one."""
        needed, default = opening.weight_bytes(folder), self._open[self._default_folder]
        if needed > (left := max(0, self._memory - default.num_bytes)):
            sentence = f"model: it takes {needed} bytes, and models_memory leaves {left} beside the default; raise that"
            raise ApiError(400, "unsupported", sentence, "model")
        while self._bytes_in_use() + needed > self._memory:
            places = (place for place in self._open if place not in self._held | {default.artifact.folder})
            idle = (place for place in places if not is_busy(self._open[place].backend))
            if (least_recent := next(idle, None)) is None:
                raise ApiError(503, "loading", "model: those that are open are answering; try again", retry_after=2)
            self._retire(least_recent)

    def _bytes_in_use(self) -> int:
        opening_bytes = sum(opening.weight_bytes(folder) for folder in self._opening)
        return opening_bytes + sum(opened.num_bytes for opened in self._open.values())

    async def _reload(self, settings: ServeSettings) -> list[Replacement]:
        await asyncio.gather(*self._opening.values(), return_exceptions=True)  # they may have begun on older files
        folders = await asyncio.to_thread(model_names.find_folders, settings)
        default = folders[settings.served_model_name]
        kept = [folder for folder in self._open if folder in folders.values() and folder != default]
        before = {folder: self._open.get(folder) for folder in [*kept, default]}
        self._held = set(before)
        fresh: dict[Path, OpenModel] = {}
        try:
            for folder, current in before.items():
                fresh[folder] = await asyncio.to_thread(opening.open_current, current, folder, settings)
        except ValueError:
            await close_all(opened for folder, opened in fresh.items() if is_other(opened, before[folder]))
            raise
        late = [
            folder for folder in fresh if self._open.get(folder) is not before[folder]
        ]  # it left, or came, meanwhile
        seals = {folder: opened.artifact.seal for folder, opened in self._open.items()}
        self._swap(folders, {folder: opened for folder, opened in fresh.items() if folder not in late})
        self._settings, self._memory = settings, settings.models_memory or self._memory
        await close_all(fresh[folder] for folder in late if is_other(fresh[folder], before[folder]))
        return [
            Replacement(each.name, each.seal, seals.get(each.folder), each.variant, each.commit)
            for each in self.open_models()
        ]

    def _swap(self, folders: dict[str, Path], fresh: dict[Path, OpenModel]) -> None:
        """Go on with other names, and with what is open now in place of what was."""
        for folder, opened in list(self._open.items()):
            if folder not in folders.values() or (folder in fresh and is_other(fresh[folder], opened)):
                self._retire(folder)
        self._open.update(fresh)
        self.folders = folders

    def _retire(self, folder: Path) -> None:
        """Take a model out; it is closed when nobody holds it, and what it says has ended."""
        opened = self._open.pop(folder)
        closing = self._close_when_unused(weakref.ref(opened.artifact), opened.backend)
        self._retired[opened.backend] = asyncio.create_task(closing)

    async def _close_when_unused(self, holder: "weakref.ref[Artifact]", backend: Backend) -> None:
        """Close a model when no request has it in its hands, and none that it answers is left."""
        polls = 0
        while holder() is not None or is_busy(backend):
            await asyncio.sleep(POLL_SECONDS)
            polls += 1
            if polls % POLLS_BEFORE_GC == 0 and not is_busy(backend):
                gc.collect()
        await asyncio.to_thread(backend.close)
        del self._retired[backend], backend
        await asyncio.to_thread(memory.give_back_memory)


def is_busy(backend: Backend) -> bool:
    """Whether it says something, or will."""
    return backend.num_running() + backend.num_waiting() > 0


def is_other(opened: OpenModel, before: OpenModel | None) -> bool:
    """Whether a model was opened anew."""
    return before is None or opened.backend is not before.backend


async def close_all(models: Iterable[OpenModel]) -> None:
    """Close models that nobody has asked."""
    for opened in models:
        await asyncio.to_thread(opened.backend.close)
