"""The models that a server speaks with: each variant of a folder under a name of its own."""

from dataclasses import dataclass
from pathlib import Path

from refrain.chat import encoding
from refrain.generation import model_choice
from refrain.pipeline import manifest, paths
from refrain.runtime import loading, onnx_folder
from refrain.serving.backends.engine_thread import EngineThread
from refrain.serving.backends.protocol import Backend
from refrain.serving.errors import ApiError
from refrain.serving.settings import ServeSettings


@dataclass(frozen=True)
class ServedModel:
    """An open model, and what it is."""

    name: str  # as requests name it: refrain, refrain:int8
    folder: Path
    seal: str  # sha256 of what is in the folder
    backend: Backend
    variant: str  # int8, whichever name asked for it
    commit: str | None = None  # of the repository that made it, where that is known


class ModelPool:
    """Models by name, opened when they are first asked for; the default one at once."""

    def __init__(self, settings: ServeSettings) -> None:
        self._settings = settings
        default = model_choice.choose_model(settings.model)
        variants = {path.parent.name: path.parent for path in default.parent.glob(f"*/{onnx_folder.GRAPH}")}
        name = settings.served_model_name
        self.folders = {name: default} | {
            f"{name}:{variant}": folder for variant, folder in sorted(variants.items()) if variant != paths.BEST
        }
        self._open = {name: self._load(name)}

    def names(self) -> list[str]:
        """What requests may name, the default first."""
        return list(self.folders)

    async def find(self, name: str | None) -> ServedModel:
        """The model of that name, the default for none; ApiError 404 where there is none."""
        name = name or self._settings.served_model_name
        if name not in self.folders:
            raise ApiError(404, "model_not_found", f"model: there is no {name}; name one of {', '.join(self.folders)}",
                           "model")  # fmt: skip
        if name not in self._open:
            self._open[name] = self._load(name)
        return self._open[name]

    def is_alive(self) -> bool:
        """Whether every open model can still answer."""
        return all(model.backend.is_alive() for model in self._open.values())

    def close(self) -> None:
        """End all that runs."""
        for model in self._open.values():
            model.backend.close()

    def _load(self, name: str) -> ServedModel:
        folder, settings = self.folders[name], self._settings
        lm, tokenizer = loading.load_model(folder, settings.threads), encoding.load_tokenizer(folder)
        backend = EngineThread(lm, tokenizer, settings.max_num_seqs, settings.max_waiting)
        return ServedModel(name, folder, manifest.content_hash(folder), backend, read_variant(folder))


def read_variant(folder: Path) -> str:
    """The name of a variant; of the best one the name that the manifest beside it has."""
    try:
        best = manifest.read_manifest(folder.parent).get("best")
    except ValueError:  # a folder of its own
        return folder.name
    return best if folder.name == paths.BEST and isinstance(best, str) else folder.name
